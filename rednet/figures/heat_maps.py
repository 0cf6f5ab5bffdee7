"""Generated kernels as heat maps: one number for a position, the sum of its K x K weights."""

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import AbstractPathEffect, withStroke
from torch import Tensor, nn

from rednet.figures.generated_kernels import Layers, observe_kernels
from rednet.figures.input_images import Images
from rednet.figures.mosaic import TILE, Mosaic, compose, lighten
from rednet.figures.style import DIVERGING, NOTE_SIZE, paper_style

COLUMNS = 8
"""Groups side by side."""

IN_COLOUR = 99.5
"""Percent of the sums that the colour scale spans; the rest has the colour of its ends."""

TILE_INCHES = 0.68
LEFT, RIGHT, TOP, BOTTOM = 0.16, 0.52, 0.2, 0.04
"""Inches around the mosaic."""

NAME_LENGTH = 16


def kernel_sums(model: nn.Module, images: Images, layers: Layers) -> dict[str, np.ndarray]:
    """The sum of the K x K weights of every kernel, by layer: (N, G, Ho, Wo).

    There is no absolute value and no normalisation in it, as in the maps of Keras's example
    "Involutional neural networks".

    Args:
        model: In evaluation mode.
        images: N of them.
        layers: The involutions to look at.

    Raises:
        InputError: A kernel is not finite.
    """
    seen = observe_kernels(model, images.batches(), layers, _sum)
    return {name: torch.cat(sums).cpu().numpy() for name, sums in seen.items()}


def _sum(kernels: Tensor) -> Tensor:
    return kernels.sum((2, 3))


@paper_style
def draw_heat_maps(
    sums: np.ndarray,
    centres: np.ndarray,
    images: Images,
    title: str,
    *,
    opacity: float,
    smooth: bool,
) -> Figure:
    """The maps of a layer over the images: a row for an image, the image first, then its groups.

    All maps have one colour scale, symmetric about 0, so that groups and images can be compared.
    Below them the image is light gray; the colour bar's colours are those over its middle
    brightness, and a map's are a little darker or lighter than those.

    Args:
        sums: Of the layer's kernels (N, G, Ho, Ho).
        centres: Where in the image the kernels are from, as `kernel_centres` tells, (Ho,).
        images: Their N images.
        title: Above the picture.
        opacity: Of the maps over the gray image, 0 to 1; at 1 the maps are alone.
        smooth: Whether values between two positions are interpolated; else each is a square.
    """
    mosaic = Mosaic(len(sums), sums.shape[1], COLUMNS)
    limit = float(np.percentile(np.abs(sums), IN_COLOUR)) or 1.0
    colours = ScalarMappable(Normalize(-limit, limit), DIVERGING)
    figure, axes = _frame(mosaic, title)
    picture = compose(mosaic, images.shown, sums, centres, colours, opacity, smooth)
    axes.imshow(picture, interpolation="none")
    _write_names(axes, mosaic, images.names)
    _add_scale(axes, colours, opacity)
    return figure


def _frame(mosaic: Mosaic, title: str) -> tuple[Figure, Axes]:
    """A figure around the mosaic, and the axes, in its pixels, that the mosaic fills."""
    height, width = (TILE_INCHES * pixels / TILE for pixels in mosaic.shape)
    whole = np.array([width + LEFT + RIGHT, height + TOP + BOTTOM])
    figure = Figure(figsize=tuple(whole))
    axes = figure.add_axes((LEFT / whole[0], BOTTOM / whole[1], *((width, height) / whole)))
    axes.set_axis_off()
    axes.set_title(title, loc="left", pad=3, fontsize=6)
    return figure, axes


def _write_names(axes: Axes, mosaic: Mosaic, names: tuple[str, ...]) -> None:
    """The images' names left of them, the groups' numbers, from 1, in the corners of the maps."""
    halo: list[AbstractPathEffect] = [withStroke(linewidth=1, foreground="white")]
    for image, name in enumerate(names):
        top, left = mosaic.image_corner(image)
        axes.text(
            left - 5,
            top + TILE / 2,
            name if len(name) <= NAME_LENGTH else f"{name[: NAME_LENGTH - 3]}...",
            rotation=90,
            ha="right",
            va="center",
            fontsize=4.5,
            parse_math=False,
        )
        for group in range(mosaic.maps):
            top, left = mosaic.map_corner(image, group)
            number = axes.text(left + 6, top + 4, str(group + 1), fontsize=4.5, va="top")
            number.set_path_effects(halo)


def _add_scale(axes: Axes, colours: ScalarMappable, opacity: float) -> None:
    figure = axes.get_figure(root=True)
    assert figure is not None
    width, height = figure.get_size_inches()
    place = axes.get_position()
    tall = min(place.height, 2 * TILE_INCHES / height)
    bar = figure.add_axes((place.x1 + 0.07 / width, place.y1 - tall, 0.08 / width, tall))
    figure.colorbar(_over_gray(colours, opacity), cax=bar, extend="both")
    bar.tick_params(labelsize=NOTE_SIZE, length=2, pad=1.5)


def _over_gray(colours: ScalarMappable, opacity: float) -> ScalarMappable:
    """The colours as they are over an image of middle brightness."""
    own = colours.get_cmap()(np.linspace(0, 1, 256))
    return ScalarMappable(
        colours.norm, ListedColormap(own * opacity + lighten(np.array(0.5)) * (1 - opacity))
    )
