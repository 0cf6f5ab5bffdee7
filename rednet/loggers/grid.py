"""Images in a grid, with lines of text below each."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageOps

from rednet.predictions.lettering import FRAME, GRAY, INK, PAPER, write_line
from rednet.wording import printable

TILE = 160
"""Largest side of an image in the grid in pixels; smaller images are enlarged to it."""
MARGIN, LINE, TEXT_SIZE, TITLE_SIZE = 12, 18, 12, 15


class Tile(NamedTuple):
    """An image of the grid.

    Attributes:
        image: The image, in any mode.
        lines: Text below it, a line each; the first one is bold.
    """

    image: Image.Image
    lines: Sequence[str]


def draw_grid(tiles: Sequence[Tile], title: str) -> Image.Image:
    """Return an RGB image of all tiles, about twice as many side by side as below each other."""
    columns = max(1, min(len(tiles), round(math.sqrt(2 * len(tiles)))))
    most_lines = max((len(tile.lines) for tile in tiles), default=0)
    width, height = TILE + MARGIN, TILE + MARGIN + most_lines * LINE
    head = MARGIN + 2 * TITLE_SIZE
    size = MARGIN + columns * width, head + math.ceil(len(tiles) / columns) * height
    grid = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(grid)
    room = size[0] - 2 * MARGIN
    write_line(draw, (MARGIN, MARGIN), printable(title), TITLE_SIZE, room, bold=True)
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        _draw_tile(grid, draw, (MARGIN + column * width, head + row * height), tile)
    return grid


def _draw_tile(
    grid: Image.Image, draw: ImageDraw.ImageDraw, corner: tuple[int, int], tile: Tile
) -> None:
    left, top = corner
    draw.rectangle((left, top, left + TILE - 1, top + TILE - 1), FRAME)
    is_small = max(tile.image.size) < TILE
    method = Image.Resampling.NEAREST if is_small else Image.Resampling.LANCZOS
    image = ImageOps.contain(tile.image, (TILE, TILE), method)
    grid.paste(image, (left + (TILE - image.width) // 2, top + (TILE - image.height) // 2))
    for number, text in enumerate(tile.lines):
        color = GRAY if number else INK
        place = left, top + TILE + 2 + number * LINE
        write_line(draw, place, printable(text), TEXT_SIZE, TILE, bold=not number, color=color)
