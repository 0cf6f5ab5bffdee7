"""The worst mistakes of a run's evaluations as files: of the last one, and of the best."""

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rednet.files import write_text_atomically
from rednet.training.mistakes import Mistake
from rednet.wording import printable

FOLDER = "mistakes"
INDEX, CONFUSION = "index.json", "confusion.json"
MAX_PAIRS = 30


def write_mistakes(
    folder: Path,
    epoch: int,
    global_step: int,
    mistakes: Sequence[Mistake],
    confusion: Tensor,
    class_names: Sequence[str],
) -> None:
    """Write mistakes/epoch-0001/ of a run: an image for each mistake, and two JSON files.

    index.json comes last: a folder that has it is complete.

    Args:
        folder: Folder of the run.
        epoch: Number of the epoch, from 1.
        global_step: Steps attempted.
        mistakes: Mistakes, the worst first.
        confusion: Sample counts (classes, classes): rows are true classes, columns predictions.
        class_names: Names of the classes, by class index.

    Raises:
        OSError: A file cannot be written.
    """
    names = [printable(name) for name in class_names]
    path = _folder_of(folder, epoch)
    if path.exists():
        shutil.rmtree(path)
    path.mkdir(parents=True)
    rows = []
    for number, mistake in enumerate(mistakes, 1):
        file = f"{number:02d}.jpg"
        (path / file).write_bytes(mistake.jpeg)
        rows.append({"file": file, **_describe(mistake, names)})
    samples, correct = int(confusion.sum()), int(confusion.diagonal().sum())
    head = {
        "epoch": epoch,
        "global_step": global_step,
        "samples": samples,
        "wrong": samples - correct,
    }
    _write(path / CONFUSION, {**head, "pairs": list(_top_pairs(confusion, names))})
    _write(path / INDEX, {**head, "images": rows})


def keep_mistakes(folder: Path, *epochs: int | None) -> None:
    """Delete the folders of all other epochs.

    Raises:
        OSError: One cannot be deleted.
    """
    kept = {_folder_of(folder, epoch) for epoch in epochs if epoch is not None}
    for path in (folder / FOLDER).iterdir():
        if re.fullmatch(r"epoch-\d{4,}", path.name) and path not in kept:
            shutil.rmtree(path)


def _folder_of(folder: Path, epoch: int) -> Path:
    return folder / FOLDER / f"epoch-{epoch:04d}"


def _describe(mistake: Mistake, names: Sequence[str]) -> dict[str, Any]:
    return {
        "name": printable(mistake.name),
        "index": mistake.index,
        "loss": mistake.loss,
        "label": names[mistake.target],
        "prediction": names[mistake.prediction],
        "confidence": mistake.confidence,
    }


def _top_pairs(confusion: Tensor, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the pairs of classes that were confused most often."""
    mistakes = confusion.clone().fill_diagonal_(0).flatten()
    counts, cells = torch.sort(mistakes, descending=True, stable=True)
    totals = confusion.sum(1).tolist()
    for number, cell in zip(counts[:MAX_PAIRS].tolist(), cells[:MAX_PAIRS].tolist(), strict=True):
        if number:
            true, predicted = divmod(cell, len(names))
            share = 100 * number / totals[true]
            pair = {"label": names[true], "prediction": names[predicted]}
            yield {**pair, "count": number, "share": share}


def _write(path: Path, content: dict[str, Any]) -> None:
    write_text_atomically(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
