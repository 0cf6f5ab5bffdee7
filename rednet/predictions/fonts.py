"""Fonts for text in any script: matplotlib's own, or an installed one that has the characters."""

from collections.abc import Collection
from functools import cache

from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
from PIL import ImageFont

FAMILY = "DejaVu Sans"
"""The font that comes with matplotlib; it has Latin, Greek, Cyrillic, Arabic, but not Chinese."""

LAST_RESORT = "Last Resort"
MISSING = "\ufffd"


def find_font(text: str, size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont | None:
    """Return a font that has all characters of a text, None if none is installed."""
    path = _own(bold)
    if _missing(text, path):
        found = _installed_with(frozenset(text))
        if found is None:
            return None
        path = found
    return _load(path, size)


def replace_missing(text: str, *, bold: bool = False) -> str:
    """Return a text with a replacement character for each that matplotlib's font lacks."""
    missing = _missing(text, _own(bold))
    return "".join(MISSING if character in missing else character for character in text)


@cache
def _own(bold: bool) -> str:
    return str(findfont(FontProperties(family=FAMILY, weight="bold" if bold else "normal")))


@cache
def _characters(path: str) -> frozenset[int]:
    return frozenset(get_font(path).get_charmap())


def _missing(text: Collection[str], path: str) -> set[str]:
    return {character for character in text if ord(character) not in _characters(path)}


@cache
def _installed_with(characters: frozenset[str]) -> str | None:
    """Return the file of an installed font that has some characters and any size."""
    # matplotlib's font of last resort has a box for every character.
    usable = {font.fname for font in fontManager.ttflist if not font.name.startswith(LAST_RESORT)}
    for path in sorted(usable):
        try:
            if not _missing(characters, path):
                _load(path, 12)
                return path
        except (OSError, RuntimeError):  # removed since it was listed, or of one size only
            continue
    return None


@cache
def _load(path: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size)
