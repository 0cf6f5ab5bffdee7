"""The log of a run: progress on the screen, metrics.jsonl, and the loggers."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch

from rednet.best_effort import BestEffort
from rednet.evaluation import Evaluation
from rednet.loggers.group import BEST_TOP1, LoggerGroup
from rednet.training.batches import MicroBatch
from rednet.training.input_limit import LoadingSpeed, describe_limit
from rednet.training.metrics import METRICS, EpochMetrics, append_row, read_metrics
from rednet.training.mistakes import WorstMistakes
from rednet.training.peak_memory import peak_gigabytes
from rednet.training.progress import Progress
from rednet.training.run_images import RunImages
from rednet.training.step import StepResult
from rednet.training.throughput import Throughput
from rednet.training.totals import EpochTotals
from rednet.training.workload import Workload
from rednet.wording import count, duration, format_rate

FIRST_STEPS, FIRST_SECONDS = 10, 30.0
"""Steps, or seconds, after which the duration of the run is known."""

T = TypeVar("T")


class RunLog:
    """Reports a run. The trainer tells it what happened; only the primary process writes.

    Files that cannot be written are a warning, and are tried again with the next save or epoch.

    Args:
        folder: Folder of the run.
        log_every: Steps between two lines on the screen and two points in the loggers.
        enabled: Whether this process writes.
        workload: Work of the run.
        loading_speed: Returns how fast this process loads images, None for no line about it.
        world_size: Number of processes.
        loggers: Where scalars are written, beside metrics.jsonl.
        images: What is shown of the images, if anything.
        device: Device whose memory is reported.

    Attributes:
        rows: What metrics.jsonl should hold about the completed epochs.
        totals: Sums over the steps of the current epoch.
    """

    def __init__(
        self,
        folder: Path,
        log_every: int = 50,
        enabled: bool = True,
        workload: Workload | None = None,
        loading_speed: Callable[[], LoadingSpeed] | None = None,
        world_size: int = 1,
        loggers: LoggerGroup | None = None,
        images: RunImages | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.folder, self.log_every, self.enabled = folder, log_every, enabled
        self.workload = workload or Workload()
        self.loading_speed, self.world_size = loading_speed, world_size
        self.loggers, self.images = loggers or LoggerGroup(), images
        self.device = device or torch.device("cpu")
        self.progress: Progress
        self._is_open = False
        self.rows: list[dict[str, Any]] = []
        self.totals = EpochTotals()
        self._start = 0.0
        self._has_told_duration = False
        self._evaluation: Evaluation | None = None
        self._metrics_effort = BestEffort("training goes on, and each epoch tries again")

    def open(self, global_step: int, images: int, total_images: int) -> None:
        """Open the log; points that an interrupted run wrote after this one are replaced.

        Args:
            global_step: Steps attempted.
            images: Images seen.
            total_images: Images of the whole run.
        """
        self.close()
        self._is_open = True
        self.progress = Progress(
            total_images,
            images,
            "training",
            every=self.log_every,
            enabled=self.enabled,
            workload=self.workload,
        )
        if self.images is not None:
            self.images.shows_next_step |= global_step == 0
        self.loggers.open(first_step=global_step + 1)

    def close(self) -> None:
        """Close the loggers and remove the progress bar."""
        if self._is_open:
            self._is_open = False
            self.progress.close()
            self.loggers.close()

    def say(self, line: str) -> None:
        """Print a line."""
        self.progress.say(line)

    def flush(self) -> None:
        """Let the loggers write all that they have, before the steps it belongs to are saved."""
        self.loggers.flush()

    def start_epoch(self, epoch: int, epochs: int, step_in_epoch: int = 0) -> None:
        """Start the totals of an epoch, or continue those of one that was interrupted.

        Args:
            epoch: Number of the epoch, from 1.
            epochs: Number of epochs of the run.
            step_in_epoch: Steps of this epoch that were attempted before.
        """
        self.progress.label = f"epoch {epoch}/{epochs}"
        if step_in_epoch == 0:
            self.totals = EpochTotals()
        self._start = time.monotonic() - self.totals.seconds
        seconds = self.progress.pause()
        if self.progress.throughput.steps:
            self.workload.save_seconds = seconds
        self._enter(epoch)

    def loading(self, steps: Iterable[T]) -> Iterator[T]:
        """Yield what `steps` yields, and measure how long it takes to come."""
        iterator = iter(steps)
        while True:
            start = time.monotonic()
            try:
                step = next(iterator)
            except StopIteration:
                return
            self.progress.wait(time.monotonic() - start)
            yield step

    @property
    def mistakes(self) -> WorstMistakes | None:
        """Observer of the evaluations, if their images are shown."""
        return None if self.images is None else self.images.mistakes

    @contextmanager
    def evaluating(self) -> Iterator[Progress]:
        """Show the progress of an evaluation, on a terminal only."""
        if self.mistakes is not None:
            self.mistakes.start()
        label = f"{self.progress.label}, evaluation"
        images = self.workload.val_images
        progress = Progress(images, label=label, every=None, enabled=self.enabled)
        self.progress.pause()
        try:
            yield progress
        finally:
            self.workload.evaluation_seconds = self.progress.pause()
            progress.close()

    def is_due(self, global_step: int) -> bool:
        """Return whether the loggers get this step: the first, then one in `log_every`."""
        return (global_step - 1) % self.log_every == 0

    def step(
        self,
        result: StepResult,
        global_step: int,
        lr: float,
        scaler: torch.amp.GradScaler,
        batches: Sequence[MicroBatch] = (),
    ) -> None:
        """Record a step.

        Args:
            result: Loss and gradient norm.
            global_step: Number of the step, from 1.
            lr: Learning rate.
            scaler: Gradient scaler, whose scale is logged in fp16.
            batches: Images of this process, of which a run shows the first ones.
        """
        totals = self.totals
        if result.updated:
            totals.loss_sum += result.loss_sum
            totals.num_samples += result.num_samples
        elif result.num_samples:
            totals.skipped += 1
        totals.lr, totals.seconds = lr, time.monotonic() - self._start
        loss = result.mean_loss
        self.progress.advance(result.num_samples, f"loss {loss:.4f}  norm {result.grad_norm:.2f}")
        self._tell_duration()
        if self.is_due(global_step):
            values = {"loss": loss, "grad_norm": result.grad_norm, "skipped": totals.skipped}
            values["lr"] = lr
            if scaler.is_enabled():
                values["loss_scale"] = scaler.get_scale()
            self.loggers.scalars({f"train/{k}": v for k, v in values.items()}, global_step)
            self.loggers.scalars(self._speed(), global_step)
        if self.images is not None:
            self.images.step(batches, global_step)

    def epoch_metrics(
        self, epoch: int, global_step: int, evaluation: Evaluation | None
    ) -> EpochMetrics:
        """Return the metrics of the epoch that ends now."""
        totals = self.totals
        seconds = time.monotonic() - self._start
        self._evaluation = evaluation
        return EpochMetrics(
            epoch=epoch,
            global_step=global_step,
            lr=totals.lr,
            train_loss=totals.loss_sum / totals.num_samples if totals.num_samples else None,
            val_loss=evaluation.loss if evaluation else None,
            val_top1=evaluation.top1 if evaluation else None,
            val_top5=evaluation.top5 if evaluation else None,
            images_per_second=totals.num_samples / max(1e-9, totals.seconds),
            seconds=seconds,
        )

    def epoch(self, metrics: EpochMetrics) -> None:
        """Write the metrics of a complete epoch everywhere."""
        self.rows = [*self.rows, self._write_row(metrics)]
        self._write_mistakes(metrics)
        row = self.rows[-1]
        names = ("val_loss", "val_top1", "val_top5", "images_per_second")
        scalars = {name.replace("val_", "val/"): row[name] for name in names}
        scalars |= {"train/epoch_loss": row["train_loss"], BEST_TOP1: self._best[1]}
        known = {tag: value for tag, value in scalars.items() if value is not None}
        self.loggers.scalars(known, metrics.global_step)
        if self.images is not None and self._evaluation is not None:
            self.images.show_mistakes(metrics)

    def trial(self, metrics: EpochMetrics) -> None:
        """Write the metrics of an epoch, for now; a run that resumes inside it replaces the row."""
        self._write_row(metrics)
        self._write_mistakes(metrics)

    def state_dict(self) -> dict[str, Any]:
        """Return the rows and the totals of the current epoch."""
        return {"log": {"rows": [dict(row) for row in self.rows], "totals": asdict(self.totals)}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned; for an earlier checkpoint read the folder's rows."""
        if "log" in state:
            self.rows = [dict(row) for row in state["log"]["rows"]]
            self.totals = EpochTotals(**state["log"]["totals"])
        else:
            self.rows = [row for row in read_metrics(self.folder) if row["epoch"] <= state["epoch"]]

    @property
    def _best(self) -> tuple[int | None, float | None]:
        """Number and top-1 of the first epoch with the highest top-1."""
        scores = [
            (row["val_top1"], -row["epoch"]) for row in self.rows if row["val_top1"] is not None
        ]
        top1, epoch = max(scores, default=(None, None))
        return None if epoch is None else -epoch, top1

    def _write_row(self, metrics: EpochMetrics) -> dict[str, Any]:
        """Write a row of metrics.jsonl, and its line on the screen; return the row."""
        row = metrics.row()
        if self.enabled:
            with self._metrics_effort.write(str(self.folder / METRICS)):
                append_row(self.folder, self.rows, row)
        self.progress.say(metrics.line())
        if skipped := self.totals.skipped:
            self.progress.say(f"skipped {count(skipped, 'step')} of this epoch: not finite")
        return row

    def _write_mistakes(self, metrics: EpochMetrics) -> None:
        if self.images is not None and self._evaluation is not None:
            self.images.write_mistakes(metrics, self._evaluation, self._best[0])

    def _speed(self) -> dict[str, float]:
        """Return the scalars about the speed of the last steps, which no two runs have alike."""
        throughput = self.progress.throughput
        return {
            "speed/images_per_second": throughput.images_per_second,
            "speed/data_wait_percent": throughput.waiting,
            "speed/peak_memory_gb": peak_gigabytes(self.device),
        }

    def _enter(self, epoch: int) -> None:
        """Enter an epoch, counted from 1; where other layers train, measure anew."""
        was_first_phase = self.workload.is_first_phase
        self.workload.completed = epoch - 1
        if was_first_phase != self.workload.is_first_phase:
            self.progress.throughput = Throughput()
            self._has_told_duration = False

    def _tell_duration(self) -> None:
        """Say after the first steps how long the run will take, and again where others train."""
        progress, throughput = self.progress, self.progress.throughput
        steps, seconds = throughput.steps, throughput.seconds
        is_known = steps == FIRST_STEPS or (steps > 1 and seconds > FIRST_SECONDS)
        if not is_known or self._has_told_duration:
            return
        self._has_told_duration = True
        line = (
            f"duration   about {duration(progress.seconds_left)} from here: "
            f"{format_rate(throughput.images_per_second)} images/s, "
            f"{throughput.waiting:.0f} % of the time waiting for data"
        )
        if self.workload.later_images(progress.total or 0):
            epochs = count(self.workload.first_epochs, "epoch")
            rate = self.workload.later_rate(throughput)
            line += f"; after {epochs} of fewer layers about {format_rate(rate)} images/s"
        self.say(line)
        if self.loading_speed is not None:
            limit = describe_limit(throughput, self.loading_speed(), self.world_size)
            if limit:
                self.say(limit)
