"""Maps over images, put together as one picture of tiles."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.cm import ScalarMappable

TILE, GAP = 160, 7
"""Pixels along the side of a tile, and between two; images are two gaps apart."""

DARKEST = 0.6
"""Brightness of black in the gray image below a map, so that it does not hide colours."""


@dataclass(frozen=True)
class Mosaic:
    """Where the tiles are: a block of rows for each image, the image at its top left.

    Attributes:
        count: Images.
        maps: Maps of each image.
        columns: Maps side by side; further ones go below.
    """

    count: int
    maps: int
    columns: int

    @property
    def lines(self) -> int:
        """Rows of tiles of an image."""
        return ceil(self.maps / self.columns)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        across = 1 + min(self.maps, self.columns)
        down = self.count * self.lines
        height = down * (TILE + GAP) - GAP + (self.count - 1) * GAP
        return height, across * (TILE + GAP) - GAP

    def image_corner(self, image: int) -> tuple[int, int]:
        """Row and column of an image's top left pixel."""
        return image * (self.lines * (TILE + GAP) + GAP), 0

    def map_corner(self, image: int, index: int) -> tuple[int, int]:
        """Row and column of a map's top left pixel."""
        line, column = divmod(index, self.columns)
        top, _ = self.image_corner(image)
        return top + line * (TILE + GAP), (1 + column) * (TILE + GAP)


def compose(
    mosaic: Mosaic,
    images: np.ndarray,
    maps: np.ndarray,
    centres: np.ndarray,
    colours: ScalarMappable,
    opacity: float,
    smooth: bool,
) -> np.ndarray:
    """Each image and, over it in light gray, its maps, on white.

    The gray is from `DARKEST` to white: what a map's colour stands for does not depend much on
    the image below.

    Args:
        mosaic: Where they go.
        images: (N, S, S, 3), in 0 to 1.
        maps: (N, M, Ho, Ho).
        centres: The pixels of the image that the rows, and the columns, of a map lie on, (Ho,).
        colours: Of the values of the maps.
        opacity: Of the maps over the image.
        smooth: Whether values between two positions are interpolated; else each is a square.
            Beyond the outer positions a map goes on as it is there.

    Returns:
        Red, green and blue (height, width, 3), 0 to 255.
    """
    picture = np.ones((*mosaic.shape, 3), np.float32)
    spread = _spread(centres, images.shape[1], smooth)
    for index, (image, own) in enumerate(zip(images, maps, strict=True)):
        shown = _resize(image.transpose(2, 0, 1), smooth=True)
        _put(picture, mosaic.image_corner(index), shown.transpose(1, 2, 0))
        gray = lighten(shown.mean(0)[..., None])
        for number, values in enumerate(_resize(spread @ own @ spread.T, smooth)):
            colour = colours.to_rgba(values)[..., :3]
            tile = gray * (1 - opacity) + colour * opacity
            _put(picture, mosaic.map_corner(index, number), tile)
    return (255 * picture).round().astype(np.uint8)


def lighten(gray: np.ndarray) -> np.ndarray:
    """Brightness in 0 to 1 as it is below a map, `DARKEST` to 1."""
    return DARKEST + (1 - DARKEST) * gray


def _put(picture: np.ndarray, corner: Sequence[int], tile: np.ndarray) -> None:
    top, left = corner
    picture[top : top + TILE, left : left + TILE] = tile


def _spread(centres: np.ndarray, size: int, smooth: bool) -> np.ndarray:
    """The part that each position of a map has in each pixel of an image: (size, Ho)."""
    pixels, positions = np.arange(size), np.eye(len(centres), dtype=np.float32)
    if not smooth:
        return positions[np.abs(pixels[:, None] - centres).argmin(1)]
    parts = [np.interp(pixels, centres, position) for position in positions]
    return np.stack(parts, 1).astype(np.float32)


def _resize(values: np.ndarray, smooth: bool) -> np.ndarray:
    """(C, S, S) to (C, TILE, TILE)."""
    kind = {"mode": "bilinear", "antialias": True} if smooth else {"mode": "nearest-exact"}
    resized = F.interpolate(torch.from_numpy(values.copy())[None], (TILE, TILE), **kind)
    return resized[0].numpy()
