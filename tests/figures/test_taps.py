"""Mean weights of the taps, of known kernels and of generated ones."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from rednet.figures.generated_kernels import find_involutions
from rednet.figures.style import BLUE, LIGHT_GRAY, format_number
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
        if layer.groups == 1:
            assert taps.spread is None
        else:
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
    plates = sum(2 if len(taps.signed) == 1 else 3 for taps in stages.values())
    drawn = [axes for axes in draw_stages(stages).axes if axes.images]
    assert len(drawn) == plates
    assert [axes.get_title() for axes in draw_distances(stages).axes] == list(stages)
    blocks = draw_blocks(taps, "mean_absolute")
    assert [axes.get_title() for axes in blocks.axes] == list(taps)
    largest = [format_number(weights.mean_absolute.max()) for weights in taps.values()]
    assert [axes.get_xlabel() for axes in blocks.axes] == largest
    assert "below each map: its largest absolute value" in blocks.get_supxlabel()


def test_one_group_has_no_spread():
    rng = np.random.default_rng(0)
    one, two = (TapWeights(*rng.random((2, count, 3, 3))) for count in (1, 2))
    figure = draw_stages({"layer1": one, "layer2": two, "layer3": two})
    blank = [axes for axes in figure.axes if not axes.images and axes.texts]
    assert [axes.texts[0].get_text() for axes in blank] == ["one group"]
    assert sum(bool(axes.images) for axes in figure.axes) == 8
    assert sum(bool(axes.images) for axes in draw_stages({"layer1": one}).axes) == 2
    assert {row["spread_over_groups"] for row in tap_rows({"layer1": one})} == {None}
    assert {point["spread_over_groups"] for point in distance_profile(one)} == {None}
    draw_distances({"layer1": one}).draw_without_rendering()


def test_the_largest_weight_has_all_its_digits():
    weights = np.full((1, 3, 3), 104.0)
    (axes,) = draw_blocks({"stem": TapWeights(weights, weights)}, "mean").axes
    assert axes.get_xlabel() == "104"


def test_each_stage_has_a_panel_of_distances():
    rng = np.random.default_rng(0)
    stages = {f"layer{stage}": TapWeights(*rng.random((2, 2, 3, 3))) for stage in range(1, 8)}
    panels = draw_distances(stages).axes
    assert [axes.get_title() for axes in panels] == list(stages)
    for axes in panels:
        colours = [line.get_color() for line in axes.get_lines()]
        assert colours.count(BLUE) == 1  # its own
        assert colours.count(LIGHT_GRAY) == 6  # the others
        assert len(axes.collections) == 1  # one band


def test_weights_of_zero(fixed, make_images):
    for layer in find_involutions(fixed).values():
        torch.nn.init.zeros_(layer.conv2.conv.bias)
    taps = measure_taps(fixed, make_images(), find_involutions(fixed))
    stages = by_stage(taps)
    for figure in (draw_stages(stages), draw_distances(stages), draw_blocks(taps, "mean")):
        figure.draw_without_rendering()
