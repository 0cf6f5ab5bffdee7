"""The log of a run: progress on the screen, TensorBoard, and metrics.jsonl."""

import json
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from rednet.evaluation import Evaluation
from rednet.training.progress import Progress
from rednet.training.step import StepResult
from rednet.wording import count


@dataclass(frozen=True)
class EpochMetrics:
    """One line of metrics.jsonl.

    Attributes:
        epoch: Number of the epoch, from 1.
        global_step: Steps attempted since the start of the run.
        lr: Learning rate of the last step.
        train_loss: Mean training loss of the samples, None if every step was skipped.
        val_loss: Mean validation loss, None if the epoch was not evaluated.
        val_top1: Validation top-1 accuracy in percent, or None.
        val_top5: Validation top-5 accuracy in percent, or None; None with five classes or fewer.
        images_per_second: Training throughput over all ranks.
        seconds: Duration of the epoch, evaluation included.
    """

    epoch: int
    global_step: int
    lr: float
    train_loss: float | None
    val_loss: float | None
    val_top1: float | None
    val_top5: float | None
    images_per_second: float
    seconds: float

    def line(self) -> str:
        """Return the metrics as text for the screen."""
        parts = {
            "epoch": f"{self.epoch}",
            "lr": f"{self.lr:.4g}",
            "train loss": _format(self.train_loss, ".4f"),
            "val loss": _format(self.val_loss, ".4f"),
            "top-1": _format(self.val_top1, ".2f"),
            **({} if self.val_top5 is None else {"top-5": f"{self.val_top5:.2f}"}),
            "images/s": f"{self.images_per_second:.0f}",
            "seconds": f"{self.seconds:.0f}",
        }
        return "  ".join(f"{name} {text}" for name, text in parts.items())


class RunLog:
    """Reports a run. The trainer tells it what happened; only the primary process writes.

    Args:
        folder: Folder of the run.
        log_every: Steps between two lines on the screen and two points in TensorBoard.
        enabled: Whether this process writes.
    """

    def __init__(self, folder: Path, log_every: int = 50, enabled: bool = True) -> None:
        self.folder, self.log_every, self.enabled = folder, log_every, enabled
        self.board: SummaryWriter | None = None
        self.progress: Progress
        self.loss_sum, self.num_samples, self.skipped = 0.0, 0, 0
        self.start, self.train_seconds = 0.0, 0.0

    @contextmanager
    def open(self, epoch: int, global_step: int, images: int, total_images: int) -> Iterator[None]:
        """Open the files; what an interrupted run wrote after this point is dropped.

        Args:
            epoch: Epochs completed.
            global_step: Steps attempted.
            images: Images seen.
            total_images: Images of the whole run.
        """
        self.progress = Progress(total_images, images, every=self.log_every, enabled=self.enabled)
        if self.enabled:
            kept = [line for line in read_metrics(self.folder) if line["epoch"] <= epoch]
            text = "".join(json.dumps(line) + "\n" for line in kept)
            (self.folder / "metrics.jsonl").write_text(text)
            self.board = SummaryWriter(str(self.folder / "tensorboard"), purge_step=global_step + 1)
        try:
            yield
        finally:
            self.progress.close()
            if self.board is not None:
                self.board.close()

    def start_epoch(self, label: str) -> None:
        """Reset the totals of the epoch and its clock."""
        self.progress.label = label
        self.loss_sum, self.num_samples, self.skipped = 0.0, 0, 0
        self.start = time.monotonic()

    def is_due(self, global_step: int) -> bool:
        """Return whether TensorBoard gets this step: the first, then one in `log_every`."""
        return (global_step - 1) % self.log_every == 0

    def step(self, result: StepResult, global_step: int, **scalars: float) -> None:
        """Record a step.

        Args:
            result: Loss and gradient norm.
            global_step: Number of the step, from 1.
            **scalars: Further values for TensorBoard.
        """
        if result.updated:
            self.loss_sum += result.loss_sum
            self.num_samples += result.num_samples
        else:
            self.skipped += 1
        self.train_seconds = time.monotonic() - self.start
        loss = result.loss_sum / result.num_samples
        self.progress.advance(result.num_samples, f"loss {loss:.4f}  norm {result.grad_norm:.2f}")
        if self.is_due(global_step):
            values = {"loss": loss, "grad_norm": result.grad_norm, "skipped": self.skipped}
            self._write({f"train/{k}": v for k, v in {**values, **scalars}.items()}, global_step)

    def epoch_metrics(
        self, epoch: int, global_step: int, lr: float, evaluation: Evaluation | None
    ) -> EpochMetrics:
        """Return the metrics of the epoch that ends now."""
        return EpochMetrics(
            epoch=epoch,
            global_step=global_step,
            lr=lr,
            train_loss=self.loss_sum / self.num_samples if self.num_samples else None,
            val_loss=evaluation.loss if evaluation else None,
            val_top1=evaluation.top1 if evaluation else None,
            val_top5=evaluation.top5 if evaluation else None,
            images_per_second=self.num_samples / max(1e-9, self.train_seconds),
            seconds=time.monotonic() - self.start,
        )

    def epoch(self, metrics: EpochMetrics) -> None:
        """Write the metrics of an epoch everywhere."""
        if not self.enabled:
            return
        values = {name: _finite(value) for name, value in asdict(metrics).items()}
        with (self.folder / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(values) + "\n")
        names = ("val_loss", "val_top1", "val_top5", "images_per_second")
        scalars = {name.replace("val_", "val/"): values[name] for name in names}
        self._write({k: v for k, v in scalars.items() if v is not None}, metrics.global_step)
        if self.board is not None:
            self.board.flush()
        self.progress.say(metrics.line())
        if self.skipped:
            self.progress.say(f"skipped {count(self.skipped, 'step')} of this epoch: not finite")

    def _write(self, scalars: Mapping[str, float], global_step: int) -> None:
        if self.board is not None:
            for name, value in scalars.items():
                self.board.add_scalar(name, value, global_step)


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Read the lines of a run's metrics.jsonl, without one that a crash left half written."""
    path = folder / "metrics.jsonl"
    text = path.read_text() if path.exists() else ""
    lines = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
    return [{RENAMED.get(name, name): value for name, value in line.items()} for line in lines]


RENAMED = {"update": "global_step"}
"""Names in the logs of rednet-1 runs."""


def _format(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _finite(value: float | None) -> float | None:
    """Return None for infinity and nan, which JSON lacks."""
    return value if value is None or math.isfinite(value) else None
