"""The predictions for each image as CSV and as lines of JSON, written while they are made."""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO

from rednet.files import open_atomically, quote_formula
from rednet.predictions.rows import ClassLabels, Row
from rednet.wording import printable

Write = Callable[[Sequence[Row]], None]
"""Function that takes the rows of consecutive images."""


@contextmanager
def write_csv(path: Path, labels: ClassLabels, top_k: int, *, targets: bool) -> Iterator[Write]:
    """Write a row for each image with predictions: path, target, and the most probable classes.

    Args:
        path: File to write; it appears when the context ends without an exception.
        labels: Names of the classes; English names of ImageNet's get columns of their own.
        top_k: Number of classes for each image, where there are as many.
        targets: Whether there is a column for the true class.

    Yields:
        The function that writes rows.
    """
    names, english = ([_cell(name or "") for name in c] for c in (labels.names, labels.english))
    what = ("class", "name", "probability") if labels.have_english else ("class", "probability")
    ranks = range(1, min(top_k, len(labels)) + 1)

    def cells(row: Row) -> Iterator[str]:
        yield _cell(row.path)
        if targets:
            yield "" if row.target is None else names[row.target]
        for number, probability in zip(row.classes, row.probabilities, strict=True):
            yield names[number]
            if labels.have_english:
                yield english[number]
            yield f"{probability:.6g}"

    with _open_text(path) as file:
        writer = csv.writer(file)
        head = ["path", *(["target"] if targets else [])]
        writer.writerow(head + [f"{column}_{rank}" for rank in ranks for column in what])
        yield lambda rows: writer.writerows(cells(row) for row in rows if not row.reason)


@contextmanager
def write_json_lines(path: Path, labels: ClassLabels) -> Iterator[Write]:
    """Write an object for each image: its path, and its predictions or why there are none.

    Args:
        path: File to write; it appears when the context ends without an exception.
        labels: Names of the classes.

    Yields:
        The function that writes rows.
    """

    def prediction(number: int, probability: float) -> dict[str, Any]:
        english = labels.english[number]
        return {
            "class": labels.names[number],
            **({} if english is None else {"name": english}),
            "index": number,
            "probability": float(f"{probability:.6g}"),
        }

    def content(row: Row) -> dict[str, Any]:
        if row.reason:
            return {"path": _json_path(row.path), "error": row.reason}
        predictions = map(prediction, row.classes, row.probabilities)
        return {"path": _json_path(row.path), "predictions": list(predictions)}

    with _open_text(path) as file:
        yield lambda rows: file.writelines(f"{json.dumps(content(row))}\n" for row in rows)


@contextmanager
def _open_text(path: Path) -> Iterator[TextIO]:
    with open_atomically(path) as file:
        text = TextIOWrapper(file, encoding="utf-8", newline="")
        try:
            yield text
        finally:
            text.detach()  # flushes, and leaves it to the outer context to close the file


def _cell(name: str) -> str:
    return str(quote_formula(printable(name)))


def _json_path(path: str) -> str:
    """Return the path itself, which JSON can hold unless it has bytes that are not UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return printable(path)
    return path
