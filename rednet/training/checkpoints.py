"""Checkpoints of a run: written atomically, named `last` and `best`, pruned."""

import platform
from collections.abc import Mapping
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from rednet.errors import InputError
from rednet.files import link_atomically, write_atomically
from rednet.versions import rednet_version

FORMAT = "rednet-2"
RECORDED_VERSIONS = ("torch", "torchvision", "timm", "numpy")
RENAMED_COUNTERS = {"update": "global_step", "updated": "optimizer_steps"}
"""Counters of rednet-1 checkpoints, and what they are called now."""


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that a result depends on."""
    found = {name: str(metadata.version(name)) for name in RECORDED_VERSIONS}
    return {"python": platform.python_version(), "rednet": rednet_version(), **found}


def upgrade_train_state(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `train_state` of a checkpoint, that of rednet-1 by today's names."""
    state = checkpoint["train_state"]
    if checkpoint.get("format") != "rednet-1":
        return dict(state)
    return {RENAMED_COUNTERS.get(name, name): value for name, value in state.items()}


class CheckpointStore:
    """The checkpoints/ of a run: one file per epoch, to which `last.pt` and `best.pt` are links.

    Args:
        folder: Folder of the run.
        keep_latest: Number of latest epochs to keep.
        keep_best: Number of best epochs to keep.

    Attributes:
        scores: Top-1 of each epoch whose file is kept, None where it was not evaluated.
        best_top1: Highest top-1 so far, in percent.
    """

    def __init__(self, folder: Path, keep_latest: int = 1, keep_best: int = 1) -> None:
        self.folder = folder / "checkpoints"
        self.keep_latest, self.keep_best = keep_latest, keep_best
        self.scores: dict[int, float | None] = {}
        self.best_top1: float | None = None

    @property
    def last(self) -> Path:
        """The latest checkpoint."""
        return self.folder / "last.pt"

    @property
    def best(self) -> Path:
        """The checkpoint with the highest top-1."""
        return self.folder / "best.pt"

    def save(self, checkpoint: dict[str, Any], epoch: int, top1: float | None) -> None:
        """Write the checkpoint of an epoch, update the links, and delete files no longer kept.

        Args:
            checkpoint: Plain values and tensors; the state of this store is added to its
                `train_state`.
            epoch: Number of the epoch, from 1.
            top1: Top-1 in percent, None if the epoch was not evaluated.

        Raises:
            InputError: The folder cannot be written; earlier checkpoints are unchanged.
        """
        is_best = top1 is not None and (self.best_top1 is None or top1 > self.best_top1)
        self.best_top1 = top1 if is_best else self.best_top1
        scores = {**self.scores, epoch: top1}
        kept = self._kept(scores)
        self.scores = {epoch: score for epoch, score in scores.items() if epoch in kept}
        train_state = {**checkpoint["train_state"], **self.state_dict()}
        try:
            path = self._path(epoch)
            content = {**checkpoint, "train_state": train_state}
            write_atomically(path, partial(torch.save, content))
            for name in [self.last, self.best] if is_best else [self.last]:
                link_atomically(path, name)
            for unwanted in scores.keys() - kept:
                self._path(unwanted).unlink(missing_ok=True)
        except OSError as error:
            raise InputError(
                f"cannot write the checkpoint of epoch {epoch} to {self.folder}: "
                f"{error.strerror}; earlier checkpoints are unchanged"
            ) from error

    def state_dict(self) -> dict[str, Any]:
        """Return which epochs are kept, and the best top-1."""
        return {"scores": dict(self.scores), "best": self.best_top1}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.scores, self.best_top1 = dict(state["scores"]), state["best"]

    def _path(self, epoch: int) -> Path:
        return self.folder / f"epoch-{epoch:04d}.pt"

    def _kept(self, scores: Mapping[int, float | None]) -> set[int]:
        """Return the latest epochs, and the best (the earlier of equals)."""
        latest = sorted(scores)[-self.keep_latest :]
        scored = [(-score, epoch) for epoch, score in scores.items() if score is not None]
        best = [epoch for _, epoch in sorted(scored)[: self.keep_best]]
        return {*latest, *best}
