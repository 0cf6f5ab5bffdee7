"""The checkpoints of a run: written atomically, named `last` and `best`, pruned, found again."""

import platform
import re
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import torch

from rednet.best_effort import BestEffort
from rednet.files import link_atomically, write_atomically
from rednet.layers.pointwise_forms import PRODUCTS
from rednet.versions import rednet_version

FORMAT = "rednet-2"
RECORDED_VERSIONS = ("torch", "torchvision", "timm", "numpy")
RENAMED_COUNTERS = {"update": "global_step", "updated": "optimizer_steps"}
"""Counters of rednet-1 checkpoints, and what they are called now."""
KEPT_STEPS = 2
"""Number of newest files of steps to keep."""


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that a result depends on."""
    found = {name: str(metadata.version(name)) for name in RECORDED_VERSIONS}
    return {"python": platform.python_version(), "rednet": rednet_version(), **found}


def upgrade_train_state(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `train_state` of a checkpoint, that of rednet-1 by today's names.

    Runs that do not say how they computed 1x1 convolutions did so by products.
    """
    state = {"pointwise": asdict(PRODUCTS), **checkpoint["train_state"]}
    if checkpoint.get("format") != "rednet-1":
        return state
    return {RENAMED_COUNTERS.get(name, name): value for name, value in state.items()}


class Position(NamedTuple):
    """Where in a run a checkpoint was written; earlier positions are smaller.

    Attributes:
        epoch: Number of the epoch, from 1.
        step: Steps attempted since the start of the run; infinite at the epoch's end.
    """

    epoch: int
    step: float = float("inf")

    @property
    def is_epoch_end(self) -> bool:
        """Whether the epoch is complete and evaluated."""
        return self.step == float("inf")

    @property
    def file_name(self) -> str:
        """Name of the checkpoint; names sort like positions."""
        inside = "" if self.is_epoch_end else f"-step-{int(self.step):08d}"
        return f"epoch-{self.epoch:04d}{inside}.pt"

    @classmethod
    def parse(cls, name: str) -> "Position | None":
        """Return the position of a checkpoint's name, None for other names."""
        match = re.fullmatch(r"epoch-(\d{4,})(?:-step-(\d{8,}))?\.pt", name)
        if match is None:
            return None
        return cls(int(match[1]), float("inf") if match[2] is None else int(match[2]))


class CheckpointStore:
    """The checkpoints/ of a run: a file per epoch and files of steps inside an epoch.

    `last.pt` and `best.pt` are further names of the newest file and of the epoch with the highest
    top-1. A file that keeps such a name has its own name too.

    Args:
        folder: Folder of the run.
        keep_latest: Number of latest epochs to keep.
        keep_best: Number of best epochs to keep.
        keep_every: Keep every epoch whose number this divides; None for none.

    Attributes:
        scores: Top-1 of each epoch whose file is kept, None where it was not evaluated.
        best_top1: Highest top-1 so far, in percent.
    """

    def __init__(
        self,
        folder: Path,
        keep_latest: int = 2,
        keep_best: int = 1,
        keep_every: int | None = None,
    ) -> None:
        self.folder = folder / "checkpoints"
        self.keep_latest, self.keep_best, self.keep_every = keep_latest, keep_best, keep_every
        self.scores: dict[int, float | None] = {}
        self.best_top1: float | None = None
        self._tidying = BestEffort("the checkpoints themselves are complete")

    @property
    def last(self) -> Path:
        """The newest checkpoint."""
        return self.folder / "last.pt"

    @property
    def best(self) -> Path:
        """The checkpoint with the highest top-1."""
        return self.folder / "best.pt"

    def record(self, epoch: int, top1: float | None) -> None:
        """Take note of an epoch that will be written; top-1 is None if it was not evaluated."""
        if top1 is not None and (self.best_top1 is None or top1 > self.best_top1):
            self.best_top1 = top1
        self.scores[epoch] = top1
        kept = self._kept_epochs()
        self.scores = {epoch: top1 for epoch, top1 in self.scores.items() if epoch in kept}

    def write(self, checkpoint: Mapping[str, Any], position: Position) -> None:
        """Write a checkpoint, update the names, and delete files no longer kept.

        If only the names or the deletion fail, there is a warning.

        Raises:
            OSError: The file cannot be written; earlier checkpoints are unchanged.
        """
        write_atomically(self.folder / position.file_name, partial(torch.save, checkpoint))
        with self._tidying.write(f"{self.last} and {self.best.name}"):
            self.tidy(position)

    def tidy(self, newest: Position) -> None:
        """Let `last` and `best` name the right files, and delete files no longer kept.

        Files that claim to be newer than `newest` are damaged; they stay until they are replaced.

        Raises:
            OSError: One of these actions failed; the others were carried out.
        """
        past = [position for position in self.positions() if position <= newest]
        self.scores = {e: top1 for e, top1 in self.scores.items() if Position(e) in past}
        steps = [position for position in past if not position.is_epoch_end]
        kept = {*map(Position, self._kept_epochs()), *steps[:KEPT_STEPS], newest}
        with ExitStack() as actions:  # it goes on after an error; the last one comes first
            for position in set(past) - kept:
                path = self.folder / position.file_name
                actions.callback(path.unlink, missing_ok=True)
            actions.callback(self._name_best)
            actions.callback(self._name, self.last, newest)

    def delete_after(self, position: Position) -> None:
        """Delete the files of later positions, which the run will not continue from."""
        for later in self.positions():
            if later > position:
                (self.folder / later.file_name).unlink()

    def positions(self) -> list[Position]:
        """Return the positions of all files, newest first."""
        names = (path.name for path in self.folder.glob("epoch-*.pt"))
        found = (Position.parse(name) for name in names)
        return sorted((position for position in found if position), reverse=True)

    def state_dict(self) -> dict[str, Any]:
        """Return which epochs are kept, and the best top-1."""
        return {"scores": dict(self.scores), "best": self.best_top1}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.scores, self.best_top1 = dict(state["scores"]), state["best"]

    def _name_best(self) -> None:
        best = self._best_epochs()[: min(1, self.keep_best)]
        if best:
            self._name(self.best, Position(best[0]))
        else:
            self.best.unlink(missing_ok=True)

    def _name(self, name: Path, position: Position) -> None:
        path = self.folder / position.file_name
        if not (name.exists() and path.samefile(name)):
            link_atomically(path, name)

    def _kept_epochs(self) -> set[int]:
        """Return the latest epochs, the best ones, and those kept for ever."""
        latest = sorted(self.scores)[-self.keep_latest :]
        every = [epoch for epoch in self.scores if self.keep_every and epoch % self.keep_every == 0]
        return {*latest, *every, *self._best_epochs()[: self.keep_best]}

    def _best_epochs(self) -> list[int]:
        """Return the evaluated epochs, best first, the earlier of equals first."""
        scored = [(-top1, epoch) for epoch, top1 in self.scores.items() if top1 is not None]
        return [epoch for _, epoch in sorted(scored)]
