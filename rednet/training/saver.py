"""Save in the background: training goes on while a snapshot is written."""

import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from rednet.training.checkpoints import FORMAT, CheckpointStore, Position, versions
from rednet.training.counters import Counters
from rednet.training.log import EpochMetrics


class Saver:
    """Writes checkpoints in a thread, one at a time.

    Args:
        store: Checkpoints of the run.
        description: What a checkpoint says about its run, apart from the state: model,
            preprocessing, class_names, config, data and so on.
        every_steps: Save after each multiple of this many steps; None for never.
        every_minutes: Save when the last save is this old; None for never.
        enabled: Whether this process writes.

    Attributes:
        saved: How far the run had come when it was last saved, None before.
        seconds: Duration of the longest save so far.
    """

    def __init__(
        self,
        store: CheckpointStore,
        description: dict[str, Any],
        every_steps: int | None = None,
        every_minutes: float | None = None,
        enabled: bool = True,
    ) -> None:
        self.store, self.description, self.enabled = store, description, enabled
        self.every_steps, self.every_minutes = every_steps, every_minutes
        self.saved: Counters | None = None
        self.seconds = 0.0
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._writing: Future[None] | None = None
        self._last_time = time.monotonic()

    def is_due(self, global_step: int) -> bool:
        """Return whether to save after this step, in the middle of an epoch.

        Where the clock asks for it, a disk that has not finished the previous save is not waited
        for.

        Raises:
            InputError: The previous save failed.
        """
        is_writing = self._writing is not None and not self._writing.done()
        if not is_writing:
            self.wait()
        if self.every_steps is not None and global_step % self.every_steps == 0:
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
            InputError: The previous save failed.
        """
        self.wait()
        self.saved, self._last_time = counters, time.monotonic()
        if not self.enabled:
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
        self._writing = self._thread.submit(self._write, checkpoint, position)

    def wait(self) -> None:
        """Wait for the save that is running, if any.

        Raises:
            InputError: It failed.
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def close(self) -> None:
        """Wait for the last save.

        Raises:
            InputError: It failed.
        """
        self._thread.shutdown()
        self.wait()

    def _write(self, checkpoint: Mapping[str, Any], position: Position) -> None:
        start = time.monotonic()
        self.store.write(checkpoint, position)
        self.seconds = max(self.seconds, time.monotonic() - start)


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
