"""Numbers with their nouns, and names of files and classes, in messages and reports."""

import os
import re
import unicodedata
from collections.abc import Sequence

_BYTES = re.compile("[\udc80-\udcff]+")  # what os.fsdecode makes of bytes it cannot decode
_JOINERS = "\u200c\u200d"  # they shape letters and emoji, and cannot hide or reorder text


def count(number: float, noun: str) -> str:
    """Return a number with its noun, such as "1 epoch" or "2 epochs".

    Args:
        number: The number; a float is shortened to six digits.
        noun: The noun in the singular, with a regular plural.
    """
    text = f"{number:g}" if isinstance(number, float) else str(number)
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{text} {noun if number == 1 else plural}"


def duration(seconds: float) -> str:
    """Return a duration in its two largest units, such as "3 h 20 min"."""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min"
    days, hours = divmod(round(seconds / 3600), 24)
    return f"{count(days, 'day')} {hours} h"


def format_rate(rate: float) -> str:
    """Return a number per second with two digits or more: 0.42, 8.1 or 1234."""
    digits = 0 if rate >= 9.95 else 1 if rate >= 0.995 else 2
    return f"{rate:.{digits}f}"


def printable(name: str | os.PathLike[str]) -> str:
    r"""Return a name or path as text that any terminal and any text file can take.

    Control characters (as in terminal sequences) and characters that are invisible or reorder
    text become ``\x1b`` or ``\u202e``, bytes of a file name that are not UTF-8 become ``\xff``.
    A name that is already printable is returned unchanged.
    """
    text = os.fspath(name)
    if text.isprintable():
        return text
    text = _BYTES.sub(_decode, text)
    return "".join(c if c.isprintable() or c in _JOINERS else _escape(c) for c in text)


def _decode(match: re.Match[str]) -> str:
    """Decode bytes that are UTF-8 although the locale, such as C, has another encoding."""
    return match[0].encode("ascii", "surrogateescape").decode("utf-8", "surrogateescape")


def _escape(character: str) -> str:
    if _BYTES.match(character):
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def class_name(name: str) -> str:
    """Return the name of a class: composed (NFC) and printable.

    A folder that another system named in decomposed letters is the same class.
    """
    return unicodedata.normalize("NFC", printable(name))


def join_names(names: Sequence[str], limit: int = 5) -> str:
    """Join names for a message, made printable; names beyond ``limit`` are only counted."""
    rest = len(names) - limit
    shown = ", ".join(printable(name) for name in names[:limit])
    return shown + (f" and {rest} more" if rest > 0 else "")


def text_width(text: str) -> int:
    """Return the columns that a text takes on a terminal."""
    return sum(map(_character_width, text))


def _character_width(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
