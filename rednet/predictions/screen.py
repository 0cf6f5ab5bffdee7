"""The predictions for the first images as a table on the screen."""

from collections.abc import Sequence

from rednet.predictions.rows import ClassLabels, Row
from rednet.wording import printable, text_width

MAX_ROWS = 20
MAX_PREDICTIONS = 3
HEAD = ("image", "prediction", "second", "third")
NARROWEST = 16
"""Width of a prediction below which there is rather one prediction less in a line."""

GAP = "  "
ELLIPSIS = "..."


class ScreenTable:
    """Collects the first rows with predictions, and formats them.

    Args:
        labels: Names of the classes.
    """

    def __init__(self, labels: ClassLabels) -> None:
        self.labels = labels
        self.rows: list[Row] = []
        self.total = 0

    def add(self, rows: Sequence[Row]) -> None:
        """Take the rows of further images."""
        predicted = [row for row in rows if row.classes]
        self.total += len(predicted)
        self.rows += predicted[: MAX_ROWS - len(self.rows)]

    def lines(self, width: int | None) -> list[str]:
        """Return the lines of the table, and one that counts the images that it leaves out.

        Args:
            width: Columns of the terminal; None for all text in full.
        """
        if not self.rows:
            return []
        columns = [list(column) for column in zip(*map(self._cells, self.rows), strict=True)]
        columns = [[head, *cells] for head, cells in zip(HEAD, columns, strict=False)]
        if width is not None:
            columns = _fit(columns, width)
        lines = [_join(cells, columns) for cells in zip(*columns, strict=True)]
        more = self.total - len(self.rows)
        return [*lines, f"... and {more} more"] if more else lines

    def _cells(self, row: Row) -> list[str]:
        predictions = zip(row.classes, row.probabilities, strict=True)
        texts = [f"{printable(self.labels.shown[c])} {100 * p:.1f} %" for c, p in predictions]
        return [printable(row.path), *texts[:MAX_PREDICTIONS]]


def _fit(columns: list[list[str]], width: int) -> list[list[str]]:
    """Leave out columns and shorten texts until the lines fit."""
    paths, *predictions = columns
    while len(predictions) > 1 and width / (len(predictions) + 1) < NARROWEST + len(GAP):
        predictions.pop()
    share = max(NARROWEST, width // (len(predictions) + 1) - len(GAP))
    fitted = [[_shorten(text, share) for text in column] for column in predictions]
    left = width - sum(_widest(column) + len(GAP) for column in fitted)
    return [[_shorten_path(path, max(NARROWEST, left)) for path in paths], *fitted]


def _join(cells: Sequence[str], columns: Sequence[Sequence[str]]) -> str:
    padded = [
        cell + " " * (_widest(column) - text_width(cell))
        for cell, column in zip(cells, columns, strict=True)
    ]
    return GAP.join(padded).rstrip()


def _widest(column: Sequence[str]) -> int:
    return max(map(text_width, column))


def _shorten(text: str, width: int) -> str:
    """Shorten the label of "label 12.3 %", but not the number."""
    if text_width(text) <= width:
        return text
    label, number, percent = text.rsplit(" ", 2) if text.endswith("%") else (text, "", "")
    end = f"{ELLIPSIS} {number} {percent}".rstrip()
    return _cut(label, width - text_width(end)).rstrip() + end


def _shorten_path(path: str, width: int) -> str:
    """Shorten a path at its beginning."""
    if text_width(path) <= width:
        return path
    return ELLIPSIS + _cut(path[::-1], width - len(ELLIPSIS))[::-1]


def _cut(text: str, width: int) -> str:
    while text and text_width(text) > width:
        text = text[:-1]
    return text
