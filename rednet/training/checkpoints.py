"""Checkpoints of a run: written whole or not at all, found again, pruned."""

import platform
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from rednet.errors import InputError
from rednet.files import link_atomically, write_atomically

FORMAT = "rednet-2"
RECORDED_VERSIONS = ("rednet", "torch", "torchvision", "timm", "numpy")


@dataclass
class TrainState:
    """Where a run stands, between two epochs.

    Attributes:
        epoch: Epochs behind it.
        update: Updates attempted, which is the schedule's clock.
        updated: Updates that moved the weights, the clock of the averaged weights.
        unreadable: Images that could not be read.
        scores: Top-1 of each epoch whose checkpoint is kept, None where it was not evaluated.
        best: The highest top-1 so far.
    """

    epoch: int = 0
    update: int = 0
    updated: int = 0
    unreadable: int = 0
    scores: dict[int, float | None] = field(default_factory=dict)
    best: float | None = None


def random_states() -> dict[str, Any]:
    """The states of the generators that a network draws from."""
    states = {"python": random.getstate(), "torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def restore_random_states(states: Mapping[str, Any]) -> None:
    """Sets the generators to kept states."""
    random.setstate(states["python"])
    torch.set_rng_state(states["torch"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])


def versions() -> dict[str, str]:
    """The versions of what computed."""
    found = {name: str(metadata.version(name)) for name in RECORDED_VERSIONS}
    return {"python": platform.python_version(), **found}


class CheckpointStore:
    """The checkpoints/ of a run: one file an epoch, of which `last.pt` and `best.pt` are names.

    Args:
        folder: The run's folder.
        keep_latest: How many of the latest epochs stay.
        keep_best: How many of the best.
    """

    def __init__(self, folder: Path, keep_latest: int = 1, keep_best: int = 1) -> None:
        self.folder = folder / "checkpoints"
        self.keep_latest, self.keep_best = keep_latest, keep_best

    @property
    def last(self) -> Path:
        """The latest checkpoint."""
        return self.folder / "last.pt"

    @property
    def best(self) -> Path:
        """The checkpoint with the highest top-1."""
        return self.folder / "best.pt"

    def save(self, checkpoint: dict[str, Any], state: TrainState, top1: float | None) -> None:
        """Writes the checkpoint of an epoch, names it, and deletes those that nobody keeps.

        Args:
            checkpoint: Plain values and tensors; its `train_state` gets the counters of `state`.
            state: Where the run stands; takes note of the file.
            top1: Of this epoch, None where it was not evaluated.

        Raises:
            InputError: The folder cannot be written; earlier checkpoints are as they were.
        """
        is_best = top1 is not None and (state.best is None or top1 > state.best)
        state.scores[state.epoch] = top1
        state.best = top1 if is_best else state.best
        unwanted = state.scores.keys() - self._kept(state.scores)
        state.scores = {e: score for e, score in state.scores.items() if e not in unwanted}
        checkpoint["train_state"] |= vars(state)
        try:
            path = self._path(state.epoch)
            write_atomically(path, partial(torch.save, dict(checkpoint)))
            for name in [self.last, self.best] if is_best else [self.last]:
                link_atomically(path, name)
            for epoch in unwanted:
                self._path(epoch).unlink(missing_ok=True)
        except OSError as error:
            raise InputError(
                f"cannot write the checkpoint of epoch {state.epoch} to {self.folder}: "
                f"{error.strerror}; earlier ones are as they were"
            ) from error

    def _path(self, epoch: int) -> Path:
        return self.folder / f"epoch-{epoch:04d}.pt"

    def _kept(self, scores: Mapping[int, float | None]) -> set[int]:
        """Epochs whose files stay: the latest, and the best (the earlier one of equals)."""
        latest = sorted(scores)[-self.keep_latest :]
        scored = [(-score, epoch) for epoch, score in scores.items() if score is not None]
        best = [epoch for _, epoch in sorted(scored)[: self.keep_best]]
        return {*latest, *best}
