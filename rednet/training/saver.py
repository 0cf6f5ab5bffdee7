"""Save in the background: training goes on while a snapshot is written."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rednet.best_effort import BestEffort
from rednet.errors import InputError
from rednet.ranks.pulse import PULSE
from rednet.runtime import Runtime
from rednet.screen import SCREEN
from rednet.training.checkpoints import FORMAT, CheckpointStore, Position, versions
from rednet.training.counters import Counters
from rednet.training.metrics import EpochMetrics
from rednet.wording import printable


class Saver:
    """Writes checkpoints in a thread, one at a time.

    A save that fails is a warning, and training goes on: the next save may succeed. Only the last
    one must: it is tried twice, then ends the run with an error.

    Args:
        store: Checkpoints of the run.
        description: What a checkpoint says about its run, apart from the state: model,
            preprocessing, class_names, config, data and so on.
        every_steps: Save after each multiple of this many steps; None for never.
        every_minutes: Save when the last save is this old; None for never.
        runtime: Processes of the run; the primary one writes.

    Attributes:
        saved: How far the run had come when it was last saved, or when the save that is being
            written was asked for; None before.
        seconds: Duration of the longest save so far.
        check_folder: Called before each save; raises an `InputError` if the folder is no longer
            this run's.
        asks: Whether somebody asks for a save after the current step.
    """

    def __init__(
        self,
        store: CheckpointStore,
        description: dict[str, Any],
        every_steps: int | None = None,
        every_minutes: float | None = None,
        runtime: Runtime | None = None,
    ) -> None:
        self.store, self.description, self.runtime = store, description, runtime or Runtime()
        self.every_steps, self.every_minutes = every_steps, every_minutes
        self.saved: Counters | None = None
        self.seconds = 0.0
        self.check_folder: Callable[[], None] = lambda: None
        self.asks = False
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._writing: Future[None] | None = None
        self._attempt: Attempt | None = None
        self._effort = BestEffort("training goes on, earlier checkpoints are unchanged")
        self._last_time = time.monotonic()

    def __enter__(self) -> "Saver":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is not None:
                with suppress(InputError):  # the exception that ends the run says more
                    self.wait()
            elif failure := self.settle():
                raise InputError(failure)
        finally:
            self._thread.shutdown()

    def is_due(self, global_step: int) -> bool:
        """Return whether to save after this step, in the middle of an epoch.

        Where the clock asks for it, a disk that has not finished the previous save is not waited
        for.

        Raises:
            InputError: The folder is no longer this run's.
        """
        is_writing = self._writing is not None and not self._writing.done()
        if not is_writing:
            self.wait()
        if self.asks or (self.every_steps is not None and global_step % self.every_steps == 0):
            return True
        age = time.monotonic() - self._last_time
        return self.every_minutes is not None and age >= 60 * self.every_minutes and not is_writing

    def save(
        self, state: Mapping[str, Any], counters: Counters, metrics: EpochMetrics | None = None
    ) -> None:
        """Copy the state and write it in the background, once the previous save is done.

        Args:
            state: State of the run, by the keys of a checkpoint.
            counters: How far the run has come.
            metrics: Metrics of the epoch that is complete; None inside an epoch.

        Raises:
            InputError: The folder is no longer this run's.
        """
        self.wait()
        self._attempt = None  # one that failed gives its memory to this one
        self._last_time, self.asks = time.monotonic(), False
        before = (self.saved, self.store.state_dict())
        self.saved = counters
        if not self.runtime.is_primary:
            return
        position = Position(counters.epoch + 1, counters.global_step)
        if metrics is not None:
            position = Position(counters.epoch)
            self.store.record(counters.epoch, metrics.val_top1)
        train_state = {**state["train_state"], **self.store.state_dict()}
        checkpoint = {
            "format": FORMAT,
            **self.description,
            **snapshot({**state, "train_state": train_state}),
            "metrics": metrics and asdict(metrics),
            "versions": versions(),
        }
        self._attempt = Attempt(checkpoint, position, counters, *before)
        self._writing = self._thread.submit(self._write, checkpoint, position)

    def wait(self) -> bool:
        """Wait for the save that is running, if any; warn if it failed.

        Returns:
            Whether what was asked for last is saved.

        Raises:
            InputError: The folder is no longer this run's.
        """
        writing, self._writing = self._writing, None
        attempt = self._attempt
        if writing is None or attempt is None:
            return attempt is None
        with self._effort.write(str(self.store.folder / attempt.position.file_name)):
            with SCREEN.working("saving"):
                writing.result()
            self._attempt = None
            return True
        self.saved = attempt.saved_before
        self.store.load_state_dict(attempt.scores_before)
        return False

    def settle(self) -> str | None:
        """Wait for the last save, and try once more if it failed. All processes call this.

        Returns:
            None if it succeeded, else why not, and what is saved instead.

        Raises:
            InputError: It failed, and there is no other checkpoint; or the folder is no longer this
                run's.
        """
        return self.runtime.on_primary(self._settle)

    def _settle(self) -> str | None:
        self.wait()
        if (attempt := self._attempt) is None:
            return None
        self.saved = attempt.counters
        self.store.load_state_dict(attempt.checkpoint["train_state"])
        self._writing = self._thread.submit(self._write, attempt.checkpoint, attempt.position)
        if self.wait():
            return None
        newest = next((p for p in self.store.positions() if p < attempt.position), None)
        if newest is None:
            raise InputError(f"{self._effort.failure}; there is no other checkpoint")
        folder = printable(self.store.folder.parent)
        resume = f"the same command with output_dir={folder} resumes from {newest.file_name}"
        return f"{self._effort.failure}; {resume}"

    def _write(self, checkpoint: Mapping[str, Any], position: Position) -> None:
        start = time.monotonic()
        self.check_folder()
        self.store.write(checkpoint, position)
        PULSE.checkpoint = str(self.store.folder / position.file_name)
        self.seconds = max(self.seconds, time.monotonic() - start)


class Attempt(NamedTuple):
    """A save that was asked for and is not known to have succeeded.

    Attributes:
        checkpoint: What to write.
        position: Where in the run it was asked for.
        counters: How far the run had come.
        saved_before: How far it had come at the save before, None if there was none.
        scores_before: State of the store before.
    """

    checkpoint: dict[str, Any]
    position: Position
    counters: Counters
    saved_before: Counters | None
    scores_before: dict[str, Any]


def estimate_bytes(state: Mapping[str, Any]) -> int:
    """Return about how large a checkpoint will be.

    Args:
        state: State of the run, by the keys of a checkpoint. Before the first step the optimizer
            has none; it gets room for two numbers per weight.
    """
    size = _num_bytes(state)
    if not state["train_state"]["optimizer"]["state"]:
        size += 2 * _num_bytes(state["state_dict"])
    return size


def _num_bytes(value: Any) -> int:
    if isinstance(value, Tensor):
        return value.nbytes
    if isinstance(value, Mapping):
        return sum(map(_num_bytes, value.values()))
    return sum(map(_num_bytes, value)) if isinstance(value, list | tuple) else 0


def snapshot(value: Any) -> Any:
    """Copy the tensors in nested dicts, lists and tuples to new memory of the CPU."""
    if isinstance(value, Tensor):
        return torch.empty_like(value, device="cpu", requires_grad=False).copy_(value.detach())
    if isinstance(value, dict):
        return {key: snapshot(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(snapshot, value))
    return value
