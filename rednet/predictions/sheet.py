"""A contact sheet: images with the predictions below them."""

import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageOps

from rednet.data import UnreadableImage, read_image
from rednet.data.image_reading import MAX_PIXELS
from rednet.files import write_atomically
from rednet.predictions.lettering import FRAME, GRAY, INK, PAPER, font_of, write_line
from rednet.predictions.rows import ClassLabels, Row
from rednet.wording import count, printable

TILE, LARGE_TILE = 200, 320
"""Side of the square for an image in pixels; the large one is for a few images."""

FEW = 6
MARGIN, LINE, BAR = 14, 21, 3
"""Space around a tile, height of a line of text and of the bar under it, in pixels."""

TEXT_SIZE, SMALL_SIZE, TITLE_SIZE = 13, 11, 16
MAX_PREDICTIONS = 3

FIRST_BAR, OTHER_BAR = "#0072B2", "#56B4E9"


class ContactSheet:
    """Collects the rows of some images, evenly spaced over all, and draws these images.

    Args:
        labels: Names of the classes.
        size: Number of images on the sheet.
        total: Number of all images; None if unknown: the sheet then has the first ones.
    """

    def __init__(self, labels: ClassLabels, size: int, total: int | None) -> None:
        self.labels, self.size, self.total = labels, size, total
        self.rows: list[Row] = []

    def add(self, rows: Sequence[Row]) -> None:
        """Take the rows of further images."""
        for row in rows:
            if row.classes and self._is_chosen(row.position):
                self.rows.append(row)

    def _is_chosen(self, position: int) -> bool:
        if self.total is None or self.total <= self.size:
            return len(self.rows) < self.size
        return position * self.size % self.total < self.size

    def write(
        self, path: Path, name: str, total: int, *, upright: bool, max_pixels: int = MAX_PIXELS
    ) -> bool:
        """Write the sheet as PNG, if it has an image; return whether it has.

        Args:
            path: File to write.
            name: Name of the network.
            total: Number of images with predictions.
            upright: Whether to rotate images by their EXIF orientation.
            max_pixels: Largest number of pixels of an image that is decoded.
        """
        loaded = ((row, _load(row.path, upright, max_pixels)) for row in self.rows)
        images = [(row, image) for row, image in loaded if image]
        if not images:
            return False
        part = f"{len(images)} of " if total > len(images) else ""
        title = f"{printable(name)}: {part}{count(total, 'image')}"
        sheet = _draw(images, title, self.labels)
        write_atomically(path, lambda file: sheet.save(file, "PNG"))
        return True


def _load(path: str, upright: bool, max_pixels: int) -> Image.Image | None:
    """Read an image again, small; it may have been removed since."""
    try:
        image = read_image(path, max_pixels).convert("RGB")
    except UnreadableImage:
        return None
    image = ImageOps.exif_transpose(image) if upright else image
    enlarge = max(image.size) < LARGE_TILE
    method = Image.Resampling.NEAREST if enlarge else Image.Resampling.LANCZOS
    return ImageOps.contain(image, (LARGE_TILE, LARGE_TILE), method)


def _draw(
    images: Sequence[tuple[Row, Image.Image]], title: str, labels: ClassLabels
) -> Image.Image:
    tile = LARGE_TILE if len(images) <= FEW else TILE
    columns = min(len(images), round(math.sqrt(1.5 * len(images))))
    shown = max(len(row.classes[:MAX_PREDICTIONS]) for row, _ in images)
    head = MARGIN + 2 * TITLE_SIZE
    cell = tile + MARGIN, tile + MARGIN + LINE + shown * (LINE + BAR)
    size = MARGIN + columns * cell[0], head + math.ceil(len(images) / columns) * cell[1]
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    write_line(draw, (MARGIN, MARGIN), title, TITLE_SIZE, size[0] - 2 * MARGIN, bold=True)
    for index, (row, image) in enumerate(images):
        row_index, column = divmod(index, columns)
        corner = MARGIN + column * cell[0], head + row_index * cell[1]
        _draw_cell(sheet, draw, corner, tile, row, image, labels)
    return sheet


def _draw_cell(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    tile: int,
    row: Row,
    image: Image.Image,
    labels: ClassLabels,
) -> None:
    """Draw an image, its file name, and a line with a bar for each prediction."""
    left, top = corner
    draw.rectangle((left, top, left + tile - 1, top + tile - 1), FRAME)
    fitted = ImageOps.contain(image, (tile, tile), Image.Resampling.LANCZOS)
    sheet.paste(fitted, (left + (tile - fitted.width) // 2, top + (tile - fitted.height) // 2))
    top += tile + 4
    write_line(draw, (left, top), printable(Path(row.path).name), SMALL_SIZE, tile, color=GRAY)
    top += LINE - 4
    predictions = list(zip(row.classes, row.probabilities, strict=True))[:MAX_PREDICTIONS]
    for rank, (number, probability) in enumerate(predictions):
        first = rank == 0
        percent = f"{100 * probability:.1f} %"
        font = font_of(percent, TEXT_SIZE, first)
        width = math.ceil(font.getlength(percent))
        draw.text((left + tile - width, top), percent, INK, font)
        label = printable(labels.shown[number])
        room = tile - width - 8
        otherwise = f"class {number}"
        write_line(draw, (left, top), label, TEXT_SIZE, room, bold=first, otherwise=otherwise)
        bar = top + LINE - 3
        draw.rectangle((left, bar, left + tile - 1, bar + BAR - 1), FRAME)
        if length := round(probability * tile):
            color = FIRST_BAR if first else OTHER_BAR
            draw.rectangle((left, bar, left + length - 1, bar + BAR - 1), color)
        top += LINE + BAR
