"""Folders of runs as trainings leave them, good and bad."""

import json
from collections.abc import Sequence
from pathlib import Path

import yaml
from PIL import Image

SETTINGS = {
    "model": {"name": "rednet26", "options": {"width": 0.25}},
    "augment": {"auto_augment": None, "scale": [0.08, 1.0]},
    "optimizer": {"lr": 0.1},
    "schedule": {"epochs": 3},
    "trainer": {"max_steps": None},
    "seed": 0,
}
START = {
    "time": "2026-11-30T00:22:30+00:00",
    "command": "python train.py seed=1",
    "code": {"commit": "c1e94ea2a318c11e589fb2fa8254171ebdc8e53d"},
    "machine": {"cpu": "Intel Xeon", "device": "cpu"},
}


def rows(tops: Sequence[float | None]) -> list[dict]:
    return [
        {
            **{"epoch": epoch, "global_step": 10 * epoch, "lr": 0.1 / epoch},
            **{"train_loss": 2.0 / epoch, "val_loss": None if top is None else 2.5 - top / 100},
            **{"val_top1": top, "val_top5": top},
            **{"images_per_second": 100.0 + epoch, "seconds": 10.0},
        }
        for epoch, top in enumerate(tops, 1)
    ]


def write_run(
    folder: Path,
    tops: Sequence[float | None] = (20.0, 40.0, 30.0),
    seed: int = 0,
    lr: float = 0.1,
) -> Path:
    """Write the folder of a run whose epochs had these accuracies."""
    folder.mkdir(parents=True)
    settings = {**SETTINGS, "seed": seed, "optimizer": {"lr": lr}, "output_dir": folder.name}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    text = "".join(f"{json.dumps(row)}\n" for row in rows(tops))
    (folder / "metrics.jsonl").write_text(text)
    (folder / "provenance.jsonl").write_text(f"{json.dumps(START)}\n")
    return folder


def add_mistakes(folder: Path, label: str = "cat", prediction: str = "dog", epoch: int = 2) -> None:
    """Write two images with a wrong prediction, a file that is no image, and confusions."""
    where = folder / "mistakes" / f"epoch-{epoch:04d}"
    where.mkdir(parents=True)
    Image.new("L", (28, 28), 90).save(where / "01.png")
    Image.new("RGB", (640, 480), "teal").save(where / "02.jpg")
    (where / "03.jpg").write_text("no image")
    pair = {"label": label, "prediction": prediction}
    mistakes = [
        {"file": "03.jpg", **pair},
        {"file": "01.png", **pair, "confidence": 0.98, "name": "val/cat/17.png"},
        {"file": "../epoch-0002/02.jpg", **pair},
    ]
    pairs = [
        {"label": prediction, "prediction": label, "count": 2, "share": 4.0},
        {**pair, "count": 7, "share": 14.0},
    ]
    (where / "index.json").write_text(json.dumps({"epoch": epoch, "images": mistakes}))
    (where / "confusion.json").write_text(json.dumps({"epoch": epoch, "pairs": pairs}))


def add_confusion_table(path: Path) -> None:
    """Write what evaluate.py writes."""
    path.parent.mkdir(exist_ok=True)
    path.write_text("true,predicted,count,share\r\nbird,cat,1,\r\nbird,dog,9,18.0\r\n", newline="")
