"""Heat maps of generated kernels: their values and their place in the mosaic."""

import numpy as np
import pytest
import torch
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.text import Text

from rednet.figures.generated_kernels import find_involutions
from rednet.figures.heat_maps import draw_heat_maps, heat_map_title, kernel_sums
from rednet.figures.mosaic import GAP, TILE, Mosaic, render_mosaic

COLOURS = ScalarMappable(Normalize(-1, 1), "RdBu_r")
CENTRES = np.array([0, 3, 6])


def test_a_value_is_the_sum_of_the_49_weights(make_tiny, make_images):
    model, images = make_tiny(), make_images(10)
    sums = kernel_sums(model, images, find_involutions(model))
    assert sums["layer1.0"].shape == (10, 1, 8, 8)
    assert sums["layer4.0"].shape == (10, 8, 1, 1)
    entered = {}
    model.layer2[0].conv2.register_forward_pre_hook(lambda layer, x: entered.update(x=x[0]))
    model(images.inputs[8:])
    kernels = model.layer2[0].conv2.kernel(entered["x"]).detach().numpy()
    assert kernels.shape == (2, 2 * 49, 4, 4)
    by_hand = kernels.reshape(2, 2, 49, 4, 4).sum(2)
    np.testing.assert_allclose(sums["layer2.0"][8:], by_hand, rtol=1e-4, atol=1e-5)


def tile_at(pixels, corner):
    top, left = corner
    return pixels[top : top + TILE, left : left + TILE] / 255


@pytest.mark.parametrize("smooth", [True, False])
def test_each_map_is_in_its_place(smooth):
    # Each map is constant, so its tile has one colour.
    maps = np.linspace(-1, 1, 2 * 5, dtype=np.float32).reshape(2, 5, 1, 1) * np.ones((3, 3))
    images = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    mosaic = Mosaic(2, 5, 3)
    pixels = render_mosaic(mosaic, images, maps.astype(np.float32), CENTRES, COLOURS, 1.0, smooth)
    assert pixels.shape == (4 * TILE + 4 * GAP, 4 * TILE + 3 * GAP, 3)
    for image, number in np.ndindex(2, 5):
        colour = COLOURS.to_rgba(maps[image, number, 0, 0])[:3]
        found = tile_at(pixels, mosaic.map_corner(image, number))
        np.testing.assert_allclose(found, np.broadcast_to(colour, found.shape), atol=0.003)
    corners = [mosaic.map_corner(1, number) for number in (0, 2, 3)]
    step = TILE + GAP
    assert corners == [(2 * step + GAP, step), (2 * step + GAP, 3 * step), (3 * step + GAP, step)]
    assert (pixels[step : 2 * step, :TILE] == 255).all()  # to the left of the second row of maps


def test_the_image_comes_first_and_is_light_gray_below_the_maps():
    images = np.broadcast_to(np.float32([0.9, 0.3, 0.0]), (1, 8, 8, 3))
    maps = np.zeros((1, 1, 3, 3), np.float32)
    mosaic = Mosaic(1, 1, 3)
    light = 0.6 + 0.4 * 0.4
    for opacity, level in ((0.0, light), (0.5, light / 2 + 0.97 / 2)):
        pixels = render_mosaic(mosaic, images, maps, CENTRES, COLOURS, opacity, True)
        np.testing.assert_allclose(tile_at(pixels, (0, 0))[5, 5], (0.9, 0.3, 0), atol=0.003)
        found = tile_at(pixels, mosaic.map_corner(0, 0))
        np.testing.assert_allclose(found, level, atol=0.01)


def draw(sums, images, title="stem", opacity=0.6, shared_scale=False):
    """Draw heat maps of 4 x 4 positions."""
    return draw_heat_maps(
        sums,
        np.arange(4) * 8,
        images,
        title,
        opacity=opacity,
        smooth=True,
        shared_scale=shared_scale,
    )


@pytest.mark.parametrize("opacity", [0.6, 1.0])
def test_the_colours_of_the_maps_are_on_the_colour_bar(opacity, make_images):
    sums = np.linspace(-2, 2, 16, dtype=np.float32).reshape(1, 1, 4, 4)
    images = make_images(1)
    figure = draw_heat_maps(
        sums, np.arange(0, 32, 8), images, "stem", opacity=opacity, smooth=False, shared_scale=True
    )
    figure.draw_without_rendering()
    axes, bar = figure.axes
    on_bar = bar.collections[-1].cmap(np.linspace(0, 1, 256))[:, :3].astype(np.float32)
    pixels = axes.images[0].get_array()[:, TILE + GAP :].reshape(-1, 3) / np.float32(255)
    distances = torch.cdist(torch.from_numpy(pixels), torch.from_numpy(on_bar), p=torch.inf)
    # The bar is drawn over medium gray; the image below a map is lighter or darker.
    assert distances.amin(1).max() < 0.2 * (1 - opacity) + 0.02


@pytest.mark.parametrize("groups", [1, 8, 9])
def test_groups_are_numbered_and_can_share_one_colour_scale(groups, make_images):
    images = make_images(2)
    sums = np.random.default_rng(0).normal(size=(2, groups, 4, 4)).astype(np.float32)
    figure = draw(sums, images, "layer1.0: $x", shared_scale=True)
    axes, bar = figure.axes
    texts = [text.get_text() for text in axes.texts]
    numbers = [str(group + 1) for group in range(groups)]
    assert texts == ["image0", *numbers, "image1", *numbers]
    low, high = bar.get_ylim()
    assert -low == high == pytest.approx(np.percentile(abs(sums), 99.5))


def test_a_map_has_its_own_colour_scale_whose_ends_are_written(make_images):
    ramp = np.linspace(0, 2, 16, dtype=np.float32).reshape(4, 4)
    sums = np.stack([ramp, 100 * ramp - 5, ramp / 4 + 8])[None]
    figure = draw(sums, make_images(1), shared_scale=False, opacity=1)
    axes, bar = figure.axes
    mosaic = Mosaic(1, 3, 8)
    pixels = axes.images[0].get_array()
    first, *others = (tile_at(pixels, mosaic.map_corner(0, group)) for group in range(3))
    assert np.ptp(first[..., 1]) > 0.7  # the whole range of viridis
    for other in others:
        np.testing.assert_allclose(other, first, atol=0.01)
    assert [text.get_text() for text in axes.texts[4:]] == [
        "0.0 to 2.0",
        "-4 to 194",
        "8.00 to 8.50",
    ]
    assert [label.get_text() for label in bar.get_yticklabels()] == ["low", "high"]


@pytest.mark.parametrize("shared_scale", [False, True])
@pytest.mark.parametrize("value", [0.0, -2.0])
def test_constant_kernels(value, shared_scale, make_images):
    sums = np.full((1, 2, 4, 4), value, np.float32)
    draw(sums, make_images(1), shared_scale=shared_scale).draw_without_rendering()


@pytest.mark.parametrize("groups", [1, 2])
def test_the_title_fits_into_a_narrow_figure(groups, make_images):
    title = heat_map_title("layer1.0", 49, groups, groups)
    sums = np.ones((1, groups, 4, 4), np.float32)
    figure = draw(sums, make_images(1), title)
    figure.draw_without_rendering()
    (text,) = (item for item in figure.axes[0].findobj(Text) if item.get_text() == title)
    assert text.get_window_extent().x1 < figure.bbox.x1
