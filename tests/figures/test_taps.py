"""Mean weights of the taps, of known kernels and of generated ones."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from rednet.figures.generated_kernels import find_involutions
from rednet.figures.taps import (
    TapWeights,
    by_stage,
    distance_profile,
    draw_blocks,
    draw_distances,
    draw_stages,
    measure_taps,
    tap_rows,
)


@pytest.fixture
def fixed(make_tiny):
    """Return a network whose kernels are the biases of their generators for any image."""
    model = make_tiny()
    for layer in find_involutions(model).values():
        span = layer.conv2.conv
        torch.nn.init.zeros_(span.weight)
        torch.nn.init.normal_(span.bias)
    return model


def test_the_mean_of_fixed_kernels_is_the_kernel(fixed, make_images):
    layers = find_involutions(fixed)
    for name, taps in measure_taps(fixed, make_images(10), layers).items():
        layer = layers[name]
        size = layer.window.kernel_size
        weights = layer.conv2.conv.bias.detach().numpy().reshape(layer.groups, size, size)
        np.testing.assert_allclose(taps.signed, weights, rtol=1e-5)
        np.testing.assert_allclose(taps.absolute, abs(weights), rtol=1e-5)
        np.testing.assert_allclose(taps.mean, weights.mean(0), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(taps.mean_absolute, abs(weights).mean(0), rtol=1e-5)
        np.testing.assert_allclose(taps.spread, weights.std(0), rtol=1e-4, atol=1e-6)


def test_all_images_and_positions_count_equally(make_tiny, make_images):
    model, images = make_tiny(), make_images(11)
    inputs = {}
    layer = model.layer1[0].conv2
    layer.register_forward_pre_hook(lambda layer, x: inputs.update(x=x[0]))
    model(images.inputs)
    kernels = layer.kernel(inputs["x"]).detach().numpy().reshape(11, 1, 7, 7, 8, 8)
    taps = measure_taps(model, images, {"layer1.0": layer})["layer1.0"]
    np.testing.assert_allclose(taps.signed, kernels.mean((0, 4, 5)), atol=1e-5)
    np.testing.assert_allclose(taps.absolute, abs(kernels).mean((0, 4, 5)), atol=1e-5)


def test_a_stage_combines_the_groups_of_its_blocks(fixed, make_images):
    taps = measure_taps(fixed, make_images(), find_involutions(fixed))
    stages = by_stage(taps)
    assert list(stages) == ["stem", "layer1", "layer2", "layer3", "layer4"]
    blocks = [taps["layer2.0"], taps["layer2.1"]]
    assert len(stages["layer2"].signed) == sum(len(block.signed) for block in blocks)
    mean = np.mean([block.mean for block in blocks], axis=0)
    np.testing.assert_allclose(stages["layer2"].mean, mean, atol=1e-6)


def test_distances_from_the_centre():
    down, right = np.indices((5, 5)) - 2
    distance = np.hypot(down, right)
    taps = TapWeights(np.zeros((2, 5, 5)), np.stack([distance, 3 * distance]))
    profile = distance_profile(taps)
    assert [round(point["distance"] ** 2) for point in profile] == [0, 1, 2, 4, 5, 8]
    for point in profile:
        assert point["mean_absolute"] == pytest.approx(2 * point["distance"])
        assert point["spread_over_groups"] == pytest.approx(point["distance"])
    assert all(a["distance"] < b["distance"] for a, b in pairwise(profile))


def test_rows_name_the_tap():
    signed = np.arange(18.0).reshape(2, 3, 3)
    table = tap_rows({"stem": TapWeights(signed, signed)})
    assert len(table) == 9
    assert table[5] == {
        "layer": "stem",
        "row": 1,
        "column": 2,
        "mean": 9.5,
        "mean_absolute": 9.5,
        "spread_over_groups": 4.5,
    }


@pytest.mark.parametrize("layers", [(1, 1, 1, 1), (1, 1, 12, 1)])
def test_figures(layers, make_tiny, make_images):
    model = make_tiny(layers=layers, act_layer="tanh")
    taps = measure_taps(model, make_images(), find_involutions(model))
    stages = by_stage(taps)
    assert len(draw_stages(stages).axes) == 2 * 3 * 5  # each with its scale
    (curves,) = draw_distances(stages).axes
    assert [text.get_text() for text in curves.get_legend().get_texts()] == list(stages)
    blocks = draw_blocks(taps, "mean_absolute")
    assert [axes.get_title() for axes in blocks.axes] == list(taps)
    largest = [f"{weights.mean_absolute.max():.2g}" for weights in taps.values()]
    assert [axes.get_xlabel() for axes in blocks.axes] == largest
    assert "below each map: its largest absolute value" in blocks.get_supxlabel()


def test_weights_of_zero(fixed, make_images):
    for layer in find_involutions(fixed).values():
        torch.nn.init.zeros_(layer.conv2.conv.bias)
    taps = measure_taps(fixed, make_images(), find_involutions(fixed))
    stages = by_stage(taps)
    for figure in (draw_stages(stages), draw_distances(stages), draw_blocks(taps, "mean")):
        figure.draw_without_rendering()
