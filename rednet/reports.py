"""Files with the results of an evaluation."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rednet.data import english_names
from rednet.evaluation import Evaluation
from rednet.files import to_csv, write_text_atomically
from rednet.plots import MAX_CLASSES_IN_MATRIX, draw_confusion, draw_top_confusions
from rednet.wording import count, printable

CONFUSION_COLUMNS = ("true", "predicted", "count", "share")


def write_evaluation(
    result: Evaluation,
    class_names: Sequence[str],
    folder: Path,
    model: str,
    conditions: Mapping[str, Any],
) -> list[str]:
    """Write evaluation.json, per_class.csv, confusions.csv and confusion.png.

    Args:
        result: Result to write.
        class_names: Names of the classes, by class index.
        folder: Folder of the files.
        model: Name of the network.
        conditions: What is needed to repeat the evaluation, as plain values for evaluation.json.

    Returns:
        Lines that summarize the result for the user.
    """
    class_names = [printable(name) for name in class_names]
    record = {"model": model, **_scores(result), **conditions}
    write_text_atomically(folder / "evaluation.json", json.dumps(record, indent=2) + "\n")
    table = to_csv(_class_table(result, class_names), line_end="\r\n")
    write_text_atomically(folder / "per_class.csv", table)
    summary = result.summary()
    title = f"{model}: {summary}, {count(result.samples, 'image')}"
    confusions = result.confusions(class_names)
    text = to_csv(confusions, line_end="\r\n", columns=CONFUSION_COLUMNS)
    write_text_atomically(folder / "confusions.csv", text)
    if len(class_names) <= MAX_CLASSES_IN_MATRIX:
        draw_confusion(result.confusion, class_names, folder / "confusion.png", title)
    else:
        draw_top_confusions(confusions, folder / "confusion.png", title)
    lines = [f"{model}  {summary}  ({count(result.samples, 'image')})"]
    if result.unreadable:
        lines.append(
            f"{count(len(result.unreadable), 'image')} could not be read; listed in evaluation.json"
        )
    return [*lines, f"per-class table and confusions are in {folder}"]


def _scores(result: Evaluation) -> dict[str, Any]:
    return {
        "samples": result.samples,
        "top1": result.top1,
        "top5": result.top5,
        "loss": result.loss if math.isfinite(result.loss) else None,  # JSON has no NaN
        "nonfinite": result.nonfinite,
        "unreadable": [list(image) for image in result.unreadable],
    }


def _class_table(result: Evaluation, class_names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the rows of per_class.csv, where synsets are followed by their English names."""
    rows, names = result.per_class(class_names), english_names(class_names)
    if not any(names):
        return rows
    return [
        {"class": row["class"], "name": name, **row} for row, name in zip(rows, names, strict=True)
    ]
