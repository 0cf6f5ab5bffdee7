"""Maps blended with images, arranged as tiles of one large image."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.cm import ScalarMappable

TILE, GAP = 160, 7
"""Side of a tile and gap between tiles in pixels; images are two gaps apart."""

DARKEST = 0.6
"""Brightness of black in the gray image below a map, high enough not to hide its colours."""


@dataclass(frozen=True)
class Mosaic:
    """The layout of the tiles: one block of rows per image, with the image at the top left.

    Attributes:
        count: Number of images.
        maps: Number of maps per image.
        columns: Maximum number of maps side by side.
    """

    count: int
    maps: int
    columns: int

    @property
    def rows_per_image(self) -> int:
        """Number of rows of tiles for one image."""
        return ceil(self.maps / self.columns)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the mosaic in pixels."""
        across = 1 + min(self.maps, self.columns)
        down = self.count * self.rows_per_image
        height = down * (TILE + GAP) - GAP + (self.count - 1) * GAP
        return height, across * (TILE + GAP) - GAP

    def image_corner(self, image: int) -> tuple[int, int]:
        """Return the row and column of an image's top left pixel."""
        return image * (self.rows_per_image * (TILE + GAP) + GAP), 0

    def map_corner(self, image: int, index: int) -> tuple[int, int]:
        """Return the row and column of a map's top left pixel."""
        row, column = divmod(index, self.columns)
        top, _ = self.image_corner(image)
        return top + row * (TILE + GAP), (1 + column) * (TILE + GAP)


def render_mosaic(
    mosaic: Mosaic,
    images: np.ndarray,
    maps: np.ndarray,
    centres: np.ndarray,
    mappable: ScalarMappable,
    opacity: float,
    smooth: bool,
) -> np.ndarray:
    """Render each image and its maps, blended with the image in light gray, on white.

    The gray ranges from `DARKEST` to white, so the image below has little effect on the colours.

    Args:
        mosaic: Layout of the tiles.
        images: Images (N, S, S, 3) in 0 to 1.
        maps: Maps (N, M, Ho, Ho).
        centres: Pixels of the image that the rows and columns of a map belong to, (Ho,).
        mappable: Colours of the maps' values.
        opacity: Opacity of the maps over the gray images, 0 to 1.
        smooth: Whether to interpolate between positions; otherwise each position is a square.
            Outer positions extend to the edge of the image.

    Returns:
        RGB image (height, width, 3) in 0 to 255.
    """
    canvas = np.ones((*mosaic.shape, 3), np.float32)
    matrix = _interpolation_matrix(centres, images.shape[1], smooth)
    for index, (image, image_maps) in enumerate(zip(images, maps, strict=True)):
        resized = _resize(image.transpose(2, 0, 1), smooth=True)
        _paste(canvas, mosaic.image_corner(index), resized.transpose(1, 2, 0))
        gray = lighten(resized.mean(0)[..., None])
        for number, values in enumerate(_resize(matrix @ image_maps @ matrix.T, smooth)):
            colour = mappable.to_rgba(values)[..., :3]
            tile = gray * (1 - opacity) + colour * opacity
            _paste(canvas, mosaic.map_corner(index, number), tile)
    return (255 * canvas).round().astype(np.uint8)


def lighten(gray: np.ndarray) -> np.ndarray:
    """Scale brightness from the range 0 to 1 to the range `DARKEST` to 1."""
    return DARKEST + (1 - DARKEST) * gray


def _paste(canvas: np.ndarray, corner: Sequence[int], tile: np.ndarray) -> None:
    top, left = corner
    canvas[top : top + TILE, left : left + TILE] = tile


def _interpolation_matrix(centres: np.ndarray, size: int, smooth: bool) -> np.ndarray:
    """Return the weight of each position of a map in each pixel of an image: (size, Ho)."""
    pixels, positions = np.arange(size), np.eye(len(centres), dtype=np.float32)
    if not smooth:
        return positions[np.abs(pixels[:, None] - centres).argmin(1)]
    columns = [np.interp(pixels, centres, position) for position in positions]
    return np.stack(columns, 1).astype(np.float32)


def _resize(values: np.ndarray, smooth: bool) -> np.ndarray:
    """Resize (C, S, S) to (C, TILE, TILE)."""
    mode = {"mode": "bilinear", "antialias": True} if smooth else {"mode": "nearest-exact"}
    resized = F.interpolate(torch.from_numpy(values.copy())[None], (TILE, TILE), **mode)
    return resized[0].numpy()
