"""What a source of labelled pictures is, and the balanced choice of some of its pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image

from rednet.errors import InputError


class UnreadableImage(Exception):
    """A picture that could not be decoded: ``name`` says which, ``reason`` why."""

    def __init__(self, name: str, reason: str):
        super().__init__(name, reason)
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


class ImageSource(Protocol):
    """Labelled pictures by number."""

    @property
    def class_names(self) -> list[str]:
        """The classes, in the order of their indices."""

    @property
    def targets(self) -> Sequence[int]:
        """The class index of every picture."""

    def __len__(self) -> int: ...

    def load(self, index: int) -> Image.Image:
        """Return the decoded picture, in mode L or RGB.

        Raises:
            UnreadableImage: the picture cannot be decoded.
        """

    def name_of(self, index: int) -> str:
        """Return what a user would look for: the path of the file, or set and number."""


@dataclass(frozen=True)
class Splits:
    """The two halves of a data set; None is a half that was not asked for or not there."""

    train: ImageSource | None
    val: ImageSource | None


class SourceSubset:
    """Some pictures of a source, numbered anew, with all of its classes."""

    def __init__(self, source: ImageSource, indices: Sequence[int]):
        self.source = source
        self.indices = list(indices)
        self.class_names = source.class_names
        self.targets = [source.targets[index] for index in self.indices]

    def __len__(self) -> int:
        return len(self.indices)

    def load(self, index: int) -> Image.Image:
        """Return picture ``index`` of the subset."""
        return self.source.load(self.indices[index])

    def name_of(self, index: int) -> str:
        """Return the name the picture has in the whole source."""
        return self.source.name_of(self.indices[index])


def balanced_subset(source: ImageSource, n: int) -> ImageSource:
    """Choose the first ``n`` pictures, as evenly over the classes as they allow.

    The classes that are there take turns, each giving its next picture, until ``n`` are chosen;
    a class that runs out is passed over. The chosen pictures keep the order of the source.

    Raises:
        InputError: the source has fewer than ``n`` pictures.
    """
    if not 1 <= n <= len(source):
        raise InputError(f"{n} samples asked for: choose 1 to {len(source)}, the data set's size")
    targets = np.asarray(source.targets)
    rounds = _occurrence(targets)
    chosen = np.lexsort((targets, rounds))[:n]
    return SourceSubset(source, np.sort(chosen).tolist())


def _occurrence(targets: np.ndarray) -> np.ndarray:
    """For each position, how many earlier ones have the same target."""
    by_class = np.argsort(targets, kind="stable")
    _, starts, counts = np.unique(targets[by_class], return_index=True, return_counts=True)
    occurrence = np.empty_like(by_class)
    occurrence[by_class] = np.arange(len(targets)) - np.repeat(starts, counts)
    return occurrence
