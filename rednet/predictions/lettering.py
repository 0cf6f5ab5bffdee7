"""Text on images: one line each, shortened to the room that it has."""

from bisect import bisect_right
from collections.abc import Callable

from PIL import ImageDraw, ImageFont

from rednet.predictions.fonts import find_font, replace_missing

INK, GRAY, PAPER, FRAME = "#1a1a1a", "#757575", "#ffffff", "#f0f0f0"


def write_line(
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    text: str,
    size: int,
    room: int,
    *,
    bold: bool = False,
    color: str = INK,
    otherwise: str | None = None,
) -> None:
    """Draw a text, shortened to some pixels; `otherwise` if no font has its characters."""
    font = find_font(text, size, bold=bold)
    if font is None:
        text = replace_missing(text, bold=bold) if otherwise is None else otherwise
        font = font_of(text, size, bold)
    draw.text(corner, _shorten(text, font.getlength, room), color, font)


def font_of(text: str, size: int, bold: bool) -> ImageFont.FreeTypeFont:
    """Return a font for a text whose characters one certainly has."""
    font = find_font(text, size, bold=bold)
    assert font is not None
    return font


def _shorten(text: str, length: Callable[[str], float], room: int) -> str:
    """Shorten a text to a number of pixels."""
    if length(text) <= room:
        return text
    fitting = bisect_right(
        range(len(text)), float(room), key=lambda end: length(f"{text[:end]}...")
    )
    return f"{text[: max(0, fitting - 1)].rstrip()}..."
