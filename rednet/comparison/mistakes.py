"""What a run got wrong at an evaluation: pairs of classes, and images.

``confusions.csv`` has the columns true, predicted, count and share (percent), as evaluate.py writes
it. ``index.json`` lists images next to it, the worst first::

    {"epoch": 90, "images": [{"file": "0001.jpg", "label": "cat", "prediction": "dog",
                              "confidence": 0.98, "name": "val/cat/17.jpg"}]}

Only file, label and prediction are needed. A file has any format that Pillow reads. The index is in
the folder ``mistakes`` of a run, or in those that a training makes in there: one for its best
evaluation and one for its last, each with a ``confusion.json`` of the most frequent pairs.
"""

import csv
import io
import json
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from rednet.comparison.run import Confusion, Mistake

INDEX, PAIRS = "index.json", "confusion.json"
THUMBNAIL_SIZE = 112
"""Longest side of a thumbnail in pixels."""
SMALLEST = 56
"""Shortest side up to which an image is enlarged, by whole factors and without blur."""
QUALITY = 80


def best_mistakes(folder: Path) -> Path:
    """Return the folder in a run's ``mistakes`` that has an index: of the fewest mistakes."""
    found = {path.parent: _num_wrong(path) for path in sorted(folder.glob(f"epoch-*/{INDEX}"))}
    return folder if (folder / INDEX).exists() or not found else min(found, key=lambda p: found[p])


def _num_wrong(path: Path) -> float:
    """Return the number of mistakes that an index counts; infinity if it is damaged."""
    try:
        return float(json.loads(path.read_text(encoding="utf-8"))["wrong"])
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return math.inf


def read_pairs(folder: Path) -> list[Confusion]:
    """Read the confusions that a training writes next to its best mistakes.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no such file.
        LookupError: An entry lacks a key.
    """
    content = json.loads((best_mistakes(folder) / PAIRS).read_text(encoding="utf-8"))
    return [
        Confusion(str(p["label"]), str(p["prediction"]), int(p["count"]), float(p["share"]))
        for p in content["pairs"]
    ]


def read_confusions(path: Path) -> list[Confusion]:
    """Read a confusions.csv, most frequent pair first.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no such table.
        LookupError: A column is missing.
    """
    rows = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""))
    found = [_read_confusion(row) for row in rows]
    return sorted(found, key=lambda each: -each.count)


def _read_confusion(row: Mapping[str, str | None]) -> Confusion:
    true, predicted, number, share = (row[key] for key in ("true", "predicted", "count", "share"))
    if true is None or predicted is None or number is None:
        raise ValueError("a line is cut off")
    return Confusion(true, predicted, int(number), float(share) if share else None)


def read_mistakes(folder: Path, limit: int) -> list[Mistake]:
    """Read the first images of a folder of mistakes, those of which the file can be read.

    Raises:
        OSError: The index cannot be read.
        ValueError: It is no such index.
        LookupError: An entry lacks a key.
    """
    folder = best_mistakes(folder)
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    mistakes: list[Mistake] = []
    for entry in index["images"]:
        if len(mistakes) == limit:
            break
        name = Path(str(entry["file"])).name  # a file of this folder only
        try:
            thumbnail = make_thumbnail(folder / name)
        except (OSError, ValueError, Image.DecompressionBombError):
            continue
        mistakes.append(_read_mistake(entry, thumbnail))
    return mistakes


def _read_mistake(entry: Mapping[str, Any], thumbnail: bytes) -> Mistake:
    confidence = entry.get("confidence")
    return Mistake(
        thumbnail=thumbnail,
        label=str(entry["label"]),
        prediction=str(entry["prediction"]),
        confidence=None if confidence is None else float(confidence),
        name=str(entry.get("name", "")),
    )


def make_thumbnail(path: Path) -> bytes:
    """Return a small JPEG file of an image.

    Raises:
        OSError: The file is missing or is no image.
        ValueError: The file is damaged.
    """
    # Pillow warns about large images, and raises an error about huge ones.
    with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
        image.draft("RGB", (THUMBNAIL_SIZE, THUMBNAIL_SIZE))
        small = image.convert("RGB")
    small.thumbnail((THUMBNAIL_SIZE, THUMBNAIL_SIZE))
    factor = max(1, SMALLEST // max(1, *small.size))
    if factor > 1:
        size = (small.width * factor, small.height * factor)
        small = small.resize(size, Image.Resampling.NEAREST)
    content = io.BytesIO()
    small.save(content, "JPEG", quality=QUALITY, optimize=True)
    return content.getvalue()
