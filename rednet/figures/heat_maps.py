"""Heat maps of generated kernels: the sum of the K x K weights at each position."""

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import AbstractPathEffect, withStroke
from torch import Tensor, nn

from rednet.figures.generated_kernels import InvolutionLayers, observe_kernels
from rednet.figures.input_images import InputImages
from rednet.figures.mosaic import TILE, Mosaic, lighten, render_mosaic
from rednet.figures.style import DIVERGING, NOTE_SIZE, format_range, paper_style
from rednet.wording import count

COLUMNS = 8
"""Maximum number of groups side by side."""

COLOUR_SCALE_PERCENTILE = 99.5
"""Percentile at which a colour scale ends; sums beyond it are clipped."""

TILE_INCHES = 0.68
LEFT, RIGHT, TOP, BOTTOM = 0.16, 0.52, 0.2, 0.04
"""Margins around the mosaic in inches."""

MAX_NAME_LENGTH = 16
SCALED_COLOURS = ScalarMappable(Normalize(0, 1), "viridis")
"""Colours of maps with separate scales, each from its lowest to its highest sum."""

HALO: list[AbstractPathEffect] = [withStroke(linewidth=1, foreground="white")]


def kernel_sums(
    model: nn.Module, images: InputImages, layers: InvolutionLayers
) -> dict[str, np.ndarray]:
    """Return the sum of the K x K weights of each kernel, by layer: (N, G, Ho, Wo).

    As in the Keras example "Involutional neural networks", the weights are signed and not
    normalised.

    Args:
        model: The network, in evaluation mode.
        images: N images.
        layers: The involutions.

    Raises:
        InputError: A kernel is not finite.
    """
    sums = observe_kernels(model, images.batches(), layers, _sum)
    return {name: torch.cat(batches).cpu().numpy() for name, batches in sums.items()}


def _sum(kernels: Tensor) -> Tensor:
    return kernels.sum((2, 3))


def heat_map_title(layer: str, area: int, drawn: int, groups: int) -> str:
    """Return the title of a layer's heat maps, of which the first groups are drawn."""
    # Short for a single map, which leaves little room above it.
    maps = "group 1" if drawn == 1 else f"groups 1 to {drawn}"
    return f"{layer}: sums of {count(area, 'weight')}, {maps} of {groups}"


@paper_style
def draw_heat_maps(
    sums: np.ndarray,
    centres: np.ndarray,
    images: InputImages,
    title: str,
    *,
    opacity: float,
    smooth: bool,
    shared_scale: bool,
) -> Figure:
    """Draw a layer's heat maps: one row per image, the image first, then its groups.

    Each map has a separate colour scale, whose ends are written into the map, or all share one that
    is symmetric about 0, so that groups and images are comparable. If `opacity` is below 1, the
    maps are blended with a light gray image. The colour bar then shows the colours over a gray of
    medium brightness; those in a map are slightly darker or lighter.

    Args:
        sums: Sums of the layer's kernels (N, G, Ho, Ho).
        centres: Pixels that the kernels are generated from, of `kernel_centres`, (Ho,).
        images: The N images.
        title: Title of the figure.
        opacity: Opacity of the maps over the gray images, 0 to 1.
        smooth: Whether to interpolate between positions; otherwise each position is a square.
        shared_scale: Whether all maps share one colour scale.
    """
    mosaic = Mosaic(len(sums), sums.shape[1], COLUMNS)
    maps = sums if shared_scale else _rescale(sums)
    mappable = _shared_colours(sums) if shared_scale else SCALED_COLOURS
    figure, axes = _frame(mosaic, title)
    pixels = render_mosaic(mosaic, images.rgb, maps, centres, mappable, opacity, smooth)
    axes.imshow(pixels, interpolation="none")
    _write_names(axes, mosaic, images.names)
    bar = _add_colour_bar(axes, mappable, opacity)
    if not shared_scale:
        bar.set_yticks([0, 1], ["low", "high"])
        _write_ends(axes, mosaic, _ends(sums))
    return figure


def _shared_colours(sums: np.ndarray) -> ScalarMappable:
    limit = float(np.percentile(np.abs(sums), COLOUR_SCALE_PERCENTILE)) or 1.0
    return ScalarMappable(Normalize(-limit, limit), DIVERGING)


def _ends(sums: np.ndarray) -> np.ndarray:
    """Return the ends of each map's colour scale: (2, N, G)."""
    percentiles = (100 - COLOUR_SCALE_PERCENTILE, COLOUR_SCALE_PERCENTILE)
    return np.percentile(sums, percentiles, axis=(2, 3)).astype(sums.dtype)


def _rescale(sums: np.ndarray) -> np.ndarray:
    """Scale the maps so that the ends of their colour scales are 0 and 1; a constant one is 0.5."""
    low, high = _ends(sums)[..., None, None]
    span = high - low
    return np.divide(sums - low, span, out=np.full_like(sums, 0.5), where=span > 0)


def _frame(mosaic: Mosaic, title: str) -> tuple[Figure, Axes]:
    """Return a figure around the mosaic, and axes in pixels that the mosaic fills."""
    height, width = (TILE_INCHES * pixels / TILE for pixels in mosaic.shape)
    size = np.array([width + LEFT + RIGHT, height + TOP + BOTTOM])
    figure = Figure(figsize=tuple(size))
    axes = figure.add_axes((LEFT / size[0], BOTTOM / size[1], *((width, height) / size)))
    axes.set_axis_off()
    axes.set_title(title, loc="left", pad=3, fontsize=6)
    return figure, axes


def _write_names(axes: Axes, mosaic: Mosaic, names: tuple[str, ...]) -> None:
    """Write the images' names on their left and the groups' numbers, from 1, into the maps."""
    for image, name in enumerate(names):
        top, left = mosaic.image_corner(image)
        axes.text(
            left - 5,
            top + TILE / 2,
            name if len(name) <= MAX_NAME_LENGTH else f"{name[: MAX_NAME_LENGTH - 3]}...",
            rotation=90,
            ha="right",
            va="center",
            fontsize=4.5,
            parse_math=False,
        )
        for group in range(mosaic.maps):
            top, left = mosaic.map_corner(image, group)
            number = axes.text(left + 6, top + 4, str(group + 1), fontsize=4.5, va="top")
            number.set_path_effects(HALO)


def _write_ends(axes: Axes, mosaic: Mosaic, ends: np.ndarray) -> None:
    """Write the ends of each map's colour scale, (2, N, G), into the map."""
    for image, group in np.ndindex(ends.shape[1:]):
        top, left = mosaic.map_corner(image, group)
        text = format_range(*map(float, ends[:, image, group]))
        label = axes.text(left + 6, top + TILE - 5, text, fontsize=4, va="bottom")
        label.set_path_effects(HALO)


def _add_colour_bar(axes: Axes, mappable: ScalarMappable, opacity: float) -> Axes:
    figure = axes.get_figure(root=True)
    assert figure is not None
    width, height = figure.get_size_inches()
    box = axes.get_position()
    bar_height = min(box.height, 2 * TILE_INCHES / height)
    corner = (box.x1 + 0.07 / width, box.y1 - bar_height)
    bar = figure.add_axes((*corner, 0.08 / width, bar_height))
    figure.colorbar(_over_gray(mappable, opacity), cax=bar, extend="both")
    bar.tick_params(labelsize=NOTE_SIZE, length=2, pad=1.5)
    return bar


def _over_gray(mappable: ScalarMappable, opacity: float) -> ScalarMappable:
    """Return the colours as they appear over an image of medium brightness."""
    colours = mappable.get_cmap()(np.linspace(0, 1, 256))
    blended = colours * opacity + lighten(np.array(0.5)) * (1 - opacity)
    return ScalarMappable(mappable.norm, ListedColormap(blended))
