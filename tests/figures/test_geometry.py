"""Heat maps lie over the pixels that the kernels are generated from, checked by gradients."""

import numpy as np
import pytest
import timm
import torch
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from rednet.figures.generated_kernels import find_involutions
from rednet.figures.geometry import kernel_centres
from rednet.figures.mosaic import TILE, Mosaic, render_mosaic

COLOURS = ScalarMappable(Normalize(0, 1), "gray")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {},
            {
                "stem": range(0, 100, 2),
                "layer1.0": range(0, 100, 4),
                "layer2.0": [*range(2, 98, 8), 96],  # of 25 positions the last is alone
                "layer2.1": range(0, 100, 8),
                "layer4.0": (8, 40, 72, 96),
            },
        ),
        ({"stem": "small"}, {"stem": range(100), "layer2.0": np.arange(0.5, 100, 2)}),
        ({"output_stride": 8}, {"layer4.0": range(0, 100, 8)}),
        ({"stem": "conv7", "involution_stages": (4,)}, {"layer4.0": (8, 40, 72, 96)}),
    ],
    ids=str,
)
def test_centres_by_hand(options, expected, make_tiny):
    model = make_tiny(**options)
    layers = find_involutions(model)
    centres = kernel_centres(model, layers, 100)
    assert list(centres) == list(layers)
    for layer, pixels in expected.items():
        np.testing.assert_array_equal(centres[layer], list(pixels))


def source_centroid(model, layer, size, cell):
    """Return the centroid of the pixels that a kernel depends on, and the size of the map."""
    seen = {}
    handle = layer.register_forward_pre_hook(lambda layer, x: seen.update(k=layer.kernel(x[0])))
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(4, 3, size, size, generator=generator, requires_grad=True)
    model(images)
    handle.remove()
    (gradient,) = torch.autograd.grad(seen["k"][:, :, cell, cell].sum(), images)
    weight = gradient.abs().sum((0, 1)).numpy()
    rows, columns = np.indices(weight.shape)
    centroid = [(weight * pixels).sum() / weight.sum() for pixels in (rows, columns)]
    return np.array(centroid), seen["k"].shape[-1]


def drawn_centroid(centres, size, cell, smooth):
    """Draw a map that is 1 at one position; return its centroid in pixels of the image."""
    maps = np.zeros((1, 1, len(centres), len(centres)), np.float32)
    maps[0, 0, cell, cell] = 1
    mosaic = Mosaic(1, 1, 1)
    images = np.zeros((1, size, size, 3), np.float32)
    pixels = render_mosaic(mosaic, images, maps, centres, COLOURS, 1.0, smooth)
    top, left = mosaic.map_corner(0, 0)
    tile = pixels[top : top + TILE, left : left + TILE, 0] / 255
    rows, columns = np.indices(tile.shape)
    centroid = np.array([(tile * pixels).sum() / tile.sum() for pixels in (rows, columns)])
    return (centroid + 0.5) * size / TILE - 0.5


@pytest.mark.parametrize("smooth", [True, False])
@pytest.mark.parametrize(
    ("size", "name", "cell"),
    [(224, "layer4.1", 3), (224, "layer4.0", 2), (100, "layer2.0", 5), (100, "layer4.1", 1)],
)
def test_a_kernel_is_drawn_over_the_pixels_that_it_is_generated_from(size, name, cell, smooth):
    # A new network's blocks are the identity, so a kernel depends on few pixels.
    torch.manual_seed(0)
    model = timm.create_model("rednet26", width=0.25, layers=(1, 1, 1, 2), num_classes=7).eval()
    layer = find_involutions(model)[name]
    centroid, count = source_centroid(model, layer, size, cell)
    centres = kernel_centres(model, {name: layer}, size)[name]
    assert len(centres) == count
    np.testing.assert_allclose(centres[cell], centroid, atol=1)
    np.testing.assert_allclose(drawn_centroid(centres, size, cell, smooth), centroid, atol=1.6)


@pytest.mark.parametrize("smooth", [True, False])
def test_outer_positions_extend_to_the_edge(smooth):
    maps = np.array([[0, 1, 1], [0, 1, 1], [0, 1, 1]], np.float32)[None, None]
    images = np.zeros((1, 96, 96, 3), np.float32)
    mosaic = Mosaic(1, 1, 1)
    pixels = render_mosaic(mosaic, images, maps, np.array([0, 32, 64]), COLOURS, 1.0, smooth)
    row = pixels[0, mosaic.map_corner(0, 0)[1] :, 0]
    assert row[0] == 0
    assert (row[TILE // 3 + 2 :] == 255).all()
