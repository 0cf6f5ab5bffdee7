"""Rows of a label and a text as lines that fit the terminal."""

import shutil
import sys
from collections.abc import Iterator, Sequence

from rednet.wording import printable, text_width

GAP = "  "
NARROW = 60
"""Columns of a terminal below which a label stands on a line of its own."""


def terminal_width() -> int | None:
    """Return the columns of the terminal; None if stdout is a file or a pipe."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def format_rows(rows: Sequence[tuple[str, str]], width: int | None) -> list[str]:
    """Return the lines of some rows. A label that repeats the one before it is left out.

    Args:
        rows: Label and text of each row; what is not printable in them is escaped.
        width: Columns of the terminal; None for one line a row. A longer word is not cut.
    """
    labels = [printable(label) for label, _ in rows]
    column = max(map(text_width, labels), default=0)
    is_narrow = width is not None and width < NARROW
    lines: list[str] = []
    for index, (label, (_, text)) in enumerate(zip(labels, rows, strict=True)):
        shown = "" if index and labels[index - 1] == label else label
        start = " " * len(GAP)
        if not is_narrow:
            start = f"{shown}{' ' * (column - text_width(shown))}{GAP}"
        elif shown:
            lines.append(shown)
        for part in _wrap(printable(text), None if width is None else width - text_width(start)):
            lines.append(f"{start}{part}".rstrip())
            start = " " * text_width(start)
    return lines


def _wrap(text: str, width: int | None) -> Iterator[str]:
    line = ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if line and width is not None and text_width(longer) > width:
            yield line
            line = word
        else:
            line = longer
    yield line
