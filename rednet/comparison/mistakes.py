"""What a run got wrong at an evaluation: pairs of classes, and images.

A training writes ``mistakes/epoch-0007/`` for its best and its last evaluation: ``index.json``
lists the images in it, the worst first, and ``confusion.json`` the pairs of classes::

    {"epoch": 7, "images": [{"file": "01.jpg", "label": "cat", "prediction": "dog",
                             "confidence": 0.98, "name": "val/cat/17.jpg"}]}
    {"epoch": 7, "pairs": [{"label": "cat", "prediction": "dog", "count": 12, "share": 24.0}]}

Another program may write both right to ``mistakes/``; only file, label and prediction are needed.
evaluate.py writes all pairs to ``confusions.csv``: true, predicted, count and share in percent.
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

FOLDER, INDEX, CONFUSION = "mistakes", "index.json", "confusion.json"
THUMBNAIL_SIZE = 112
"""Longest side of a thumbnail in pixels; smaller images are enlarged by whole factors."""
QUALITY = 80


def find_evaluation(run: Path) -> Path | None:
    """Return the folder of the evaluation with the fewest mistakes, None if a run has none.

    One with a damaged index counts if there is no other.
    """
    folder = run / FOLDER
    found = [path.parent for path in sorted(folder.glob(f"epoch-*/{INDEX}"))]
    if found:
        return min(found, key=_num_wrong)
    return folder if (folder / INDEX).exists() else None


def _num_wrong(folder: Path) -> float:
    """Return the number of mistakes that an index counts; infinity if it is damaged."""
    try:
        return float(json.loads((folder / INDEX).read_text(encoding="utf-8"))["wrong"])
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return math.inf


def read_confusion_table(path: Path) -> list[Confusion]:
    """Read a confusions.csv, most frequent pair first.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no such table.
        LookupError: A column is missing.
    """
    rows = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""))
    return _sort([_to_confusion(row, "true", "predicted") for row in rows])


def read_pairs(path: Path) -> list[Confusion]:
    """Read a confusion.json, most frequent pair first.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no such file.
        LookupError: A pair lacks a key.
        TypeError: A value has another type.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    return _sort([_to_confusion(pair, "label", "prediction") for pair in content["pairs"]])


def _to_confusion(row: Mapping[str, Any], true: str, predicted: str) -> Confusion:
    names, number, share = (row[true], row[predicted]), row["count"], row["share"]
    if None in (*names, number):
        raise ValueError("a line is cut off")
    share = None if share in (None, "") else float(share)
    return Confusion(str(names[0]), str(names[1]), int(number), share)


def _sort(confusions: list[Confusion]) -> list[Confusion]:
    return sorted(confusions, key=lambda each: -each.count)


def read_mistakes(index: Path, limit: int) -> list[Mistake]:
    """Read the first images that an index.json lists, of those whose files can be read.

    Raises:
        OSError: The index cannot be read.
        ValueError: It is no such index.
        LookupError: An entry lacks a key.
        TypeError: A value has another type.
    """
    content = json.loads(index.read_text(encoding="utf-8"))
    mistakes: list[Mistake] = []
    for entry in content["images"]:
        if len(mistakes) == limit:
            break
        name = Path(str(entry["file"])).name  # a file of this folder only
        try:
            thumbnail = make_thumbnail(index.parent / name)
        except (OSError, ValueError, Image.DecompressionBombError):
            continue
        mistakes.append(_to_mistake(entry, thumbnail))
    return mistakes


def _to_mistake(entry: Mapping[str, Any], thumbnail: bytes) -> Mistake:
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
    factor = THUMBNAIL_SIZE // max(1, *small.size)
    if factor > 1:
        size = (small.width * factor, small.height * factor)
        small = small.resize(size, Image.Resampling.NEAREST)
    content = io.BytesIO()
    small.save(content, "JPEG", quality=QUALITY, optimize=True)
    return content.getvalue()
