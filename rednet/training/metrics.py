"""What a run tells about itself: metrics.jsonl, TensorBoard, and lines on the screen."""

import json
import math
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm


@dataclass(frozen=True)
class EpochMetrics:
    """One line of metrics.jsonl; accuracies in percent, None where nothing was evaluated."""

    epoch: int
    update: int
    lr: float
    train_loss: float | None
    val_loss: float | None
    val_top1: float | None
    val_top5: float | None
    images_per_second: float
    seconds: float

    def line(self) -> str:
        """The metrics for a person."""
        parts = {
            "epoch": f"{self.epoch}",
            "lr": f"{self.lr:.4g}",
            "train loss": _format(self.train_loss, ".4f"),
            "val loss": _format(self.val_loss, ".4f"),
            "top-1": _format(self.val_top1, ".2f"),
            "top-5": _format(self.val_top5, ".2f"),
            "images/s": f"{self.images_per_second:.0f}",
            "seconds": f"{self.seconds:.0f}",
        }
        return "  ".join(f"{name} {text}" for name, text in parts.items())


class MetricsLog:
    """metrics.jsonl and tensorboard/ of a run's folder.

    Args:
        folder: The run's folder.
        epochs: How many epochs a resumed run has behind it; later lines are cut off.
        update: The update that it goes on from.
    """

    def __init__(self, folder: Path, epochs: int = 0, update: int = 0) -> None:
        self.path = folder / "metrics.jsonl"
        kept = [line for line in read_metrics(folder) if line["epoch"] <= epochs]
        self.path.write_text("".join(json.dumps(line) + "\n" for line in kept))
        self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=update)

    def scalars(self, values: Mapping[str, float], update: int) -> None:
        """Adds points to TensorBoard's curves."""
        for name, value in values.items():
            self.board.add_scalar(name, value, update)

    def epoch(self, metrics: EpochMetrics) -> None:
        """Adds an epoch to both."""
        values = {name: _finite(value) for name, value in asdict(metrics).items()}
        with self.path.open("a") as file:
            file.write(json.dumps(values) + "\n")
        for name in ("val_loss", "val_top1", "val_top5", "images_per_second"):
            if values[name] is not None:
                self.board.add_scalar(name.replace("val_", "val/"), values[name], metrics.update)
        self.board.flush()

    def close(self) -> None:
        """Writes out what is pending."""
        self.board.close()


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics.jsonl, without one that a crash has left half written."""
    path = folder / "metrics.jsonl"
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _format(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _finite(value: float | None) -> float | None:
    """JSON knows no infinity and no nan."""
    return value if value is None or math.isfinite(value) else None


class Progress:
    """A moving bar on a terminal, plain lines elsewhere, nothing on other ranks.

    Args:
        total: Images of the run or the pass.
        done: Images already behind.
        label: What is going on.
        every: Write a line after so many calls; unused on a terminal.
        enabled: Whether this process speaks.
    """

    def __init__(
        self, total: int, done: int = 0, label: str = "", every: int = 50, enabled: bool = True
    ) -> None:
        self.total, self.done, self.label, self.every = total, done, label, every
        self.enabled = enabled
        self.calls, self.start_done, self.start = 0, done, time.monotonic()
        self.bar: Any = None
        if enabled and sys.stderr.isatty():
            self.bar = tqdm(total=total, initial=done, unit=" images", desc=label, leave=False)

    def advance(self, images: int, text: str = "") -> None:
        """Notes that `images` more are done and how it stands."""
        self.done += images
        self.calls += 1
        if self.bar is not None:
            self.bar.set_postfix_str(text, refresh=False)
            self.bar.update(images)
        elif self.enabled and self.calls % self.every == 0:
            self.say(f"{self.label}  {text}  {self._rate()}")

    def say(self, line: str) -> None:
        """Writes a line without disturbing the bar."""
        if self.enabled:
            tqdm.write(line, file=sys.stdout)
            sys.stdout.flush()

    def close(self) -> None:
        """Takes the bar away."""
        if self.bar is not None:
            self.bar.close()

    def _rate(self) -> str:
        rate = (self.done - self.start_done) / max(1e-9, time.monotonic() - self.start)
        left = (self.total - self.done) / max(1e-9, rate)
        return f"{rate:.0f} images/s  {tqdm.format_interval(left)} left"
