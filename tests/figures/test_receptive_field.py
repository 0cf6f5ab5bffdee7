"""Theoretical receptive fields, checked by gradients, and effective ones."""

import numpy as np
import pytest
import timm
import torch
from torch import nn

from rednet.errors import InputError
from rednet.figures.geometry import Extent, theoretical_extents
from rednet.figures.receptive_field import (
    ReceptiveField,
    draw_receptive_fields,
    has_stages,
    radius_rows,
    receptive_fields,
)

OPTIONS = [
    {},
    {"kernel_size": 3},
    {"kernel_size": 1},
    {"stem": "involution7", "kernel_size": 5},
    {"stem": "conv7", "involution_stages": (1, 3)},
    {"stem": "small", "kernel_size": 3},
    {"output_stride": 8, "kernel_size": 3, "layers": (1, 1, 2, 1)},
    {"generator": "attention", "kernel_size": 3},
    {"generator": "linear", "kernel_size": 1},
]
SIZE = 160


def make_transparent(model):
    """Make every gradient positive: positive weights, and mean instead of max pooling."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
    if hasattr(model, "maxpool"):
        model.maxpool = nn.AvgPool2d(3, 2, 1)
    return model.double()


def gradient_ranges(model):
    """Yield, by stage, the first and last pixel with a gradient and the centre of the output."""
    images = torch.rand(1, 3, SIZE, SIZE, dtype=torch.float64, requires_grad=True)
    outputs = model.forward_intermediates(images, intermediates_only=True)
    for output, stage in zip(outputs, model.feature_info, strict=True):
        middle = output.shape[2] // 2
        centre = output[:, :, middle, middle].sum()
        (gradient,) = torch.autograd.grad(centre, images, retain_graph=True)
        is_seen = gradient.abs().sum((0, 1)) > 0
        rows, columns = is_seen.any(1).nonzero(), is_seen.any(0).nonzero()
        assert (rows[0], rows[-1]) == (columns[0], columns[-1])
        yield int(rows[0]), int(rows[-1]), middle * stage["reduction"]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_gradients_reach_exactly_the_theoretical_receptive_field(options, make_tiny):
    model = make_tiny(**options)
    extents = theoretical_extents(model)
    assert list(extents) == ["stem", "layer1", "layer2", "layer3", "layer4"]
    ranges = gradient_ranges(make_transparent(model))
    for extent, (first, last, centre) in zip(extents.values(), ranges, strict=True):
        assert first == max(0, centre - extent.before)
        assert last == min(SIZE - 1, centre + extent.after)


def test_theoretical_widths_of_rednet50():
    with torch.device("meta"):
        extents = theoretical_extents(timm.create_model("rednet50"))
    widths = {stage: extent.width for stage, extent in extents.items()}
    assert widths == {"stem": 11, "layer1": 87, "layer2": 255, "layer3": 783, "layer4": 1263}


def test_influence_sums_to_one_within_the_theoretical_receptive_field(make_tiny, make_images):
    images = make_images(2, 96)
    fields = receptive_fields(make_tiny(kernel_size=3), images)
    assert [field.stage for field in fields] == ["layer1", "layer2", "layer3", "layer4"]
    for field in fields:
        assert field.influence.shape == (96, 96)
        assert field.influence.sum() == pytest.approx(1, abs=1e-5)
        outside = np.ones((96, 96), bool)
        row, column = field.centre
        before, after = field.extent.before, field.extent.after + 1
        outside[max(0, row - before) : row + after, max(0, column - before) : column + after] = 0
        assert not field.influence[outside].any()
    assert fields[0].centre == (48, 48)
    assert fields[3].centre == (32, 32)  # the middle of 3 rows


def test_images_count_equally_in_any_batches(make_tiny, make_images):
    model, images = make_tiny(), make_images(9, 32)
    together = receptive_fields(model, images)[2].influence
    singly = np.zeros((32, 32))
    for image in images.inputs:
        x = image[None].clone().requires_grad_()
        output = model.forward_intermediates(x, intermediates_only=True)[3]
        output[:, :, 1, 1].sum().backward()
        singly += x.grad.abs().sum((0, 1)).numpy()
    np.testing.assert_allclose(together, singly / singly.sum(), atol=1e-6)


@pytest.mark.parametrize(
    ("fraction", "radius"), [(0.4, 0), (0.5, 0), (0.6, 1), (0.89, 1), (0.95, 5)]
)
def test_radii(fraction, radius):
    influence = np.zeros((11, 11))
    influence[5, 5] = 0.5
    influence[[4, 6, 5, 5], [5, 5, 4, 6]] = 0.1
    influence[8, 9] = 0.1
    field = ReceptiveField("layer1", influence, (5, 5), Extent(5, 5))
    assert field.radius(fraction) == radius


def test_rows_and_figure(make_tiny, make_images):
    fields = receptive_fields(make_tiny(), make_images(2, 64))
    table = radius_rows(fields)
    assert [row["stage"] for row in table] == ["layer1", "layer2", "layer3", "layer4"]
    assert table[0]["theoretical_width"] == 39
    assert all(row["radius_50"] <= row["radius_90"] <= row["radius_95"] for row in table)
    figure = draw_receptive_fields(fields)
    assert figure.axes[0].get_title() == "layer1 (theoretically 39 px)"
    figure.draw_without_rendering()
    assert figure.axes[0].title.get_window_extent().y1 < figure.bbox.y1


def test_other_networks_have_no_theoretical_receptive_field(make_images):
    model = timm.create_model("test_resnet").eval()
    assert has_stages(model)
    fields = receptive_fields(model, make_images(2, 64))
    assert all(row["theoretical_width"] == "" for row in radius_rows(fields))
    draw_receptive_fields(fields).draw_without_rendering()
    assert not has_stages(nn.Conv2d(3, 3, 1))


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_a_network_without_finite_gradients_is_refused(value, make_tiny, make_images):
    model = make_tiny()
    nn.init.constant_(model.stem[0].conv.weight, value)
    with pytest.raises(InputError, match="no finite gradient reaches the image from layer1"):
        receptive_fields(model, make_images(1, 32))
