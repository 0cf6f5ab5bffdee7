"""Files with the results of an evaluation."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

from rednet.evaluation import Evaluation
from rednet.files import to_csv, write_text_atomically
from rednet.plots import MAX_CLASSES_IN_MATRIX, draw_confusion, draw_top_confusions
from rednet.wording import count

CONFUSION_COLUMNS = ("true", "predicted", "count", "share")


def write_evaluation(
    result: Evaluation, class_names: Sequence[str], folder: Path, model: str
) -> list[str]:
    """Write evaluation.json, per_class.csv, confusions.csv and confusion.png.

    Args:
        result: Result to write.
        class_names: Names of the classes, by class index.
        folder: Folder of the files.
        model: Name of the network.

    Returns:
        Lines that summarize the result for the user.
    """
    scores = {
        "model": model,
        "samples": result.samples,
        "top1": result.top1,
        "top5": result.top5,
        "loss": result.loss if math.isfinite(result.loss) else None,  # JSON has no NaN
        "unreadable": [list(image) for image in result.unreadable],
    }
    write_text_atomically(folder / "evaluation.json", json.dumps(scores, indent=2) + "\n")
    rows = result.per_class(class_names)
    write_text_atomically(folder / "per_class.csv", to_csv(rows, line_end="\r\n"))
    summary = f"top-1 {result.top1:.2f} %, top-5 {result.top5:.2f} %, loss {result.loss:.4f}"
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
