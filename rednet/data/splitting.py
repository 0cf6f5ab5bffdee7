"""Split the images of a folder of classes into two parts, class by class."""

import hashlib
from typing import NamedTuple, Protocol, Self

import numpy as np

from rednet.data.fingerprint import portable_names
from rednet.data.sources import ImageSource


class Selectable(ImageSource, Protocol):
    """A source of which parts can be taken."""

    def select(self, indices: np.ndarray) -> Self:
        """Return the source of the images at some indices, with all classes."""


class Parts(NamedTuple):
    """The training and the validation images of one folder; None stands for no image."""

    train: Selectable | None
    val: Selectable | None


def split_by_class(source: Selectable, val_fraction: float, seed: int) -> Parts:
    """Split the images of each class at random.

    The images of a class are ranked by a hash of seed and relative path. The order in which the
    file system lists them has no effect, and an image added later moves at most one other.

    Args:
        source: All images.
        val_fraction: Fraction of each class's images to validate with, but at least one image.
            Unless the fraction is 1, each class keeps one to train with.
        seed: Seed of the hash.
    """
    names: list[bytes] = portable_names(source).tolist()
    prefix = f"{seed}/".encode()
    hashes = [hashlib.blake2b(prefix + name, digest_size=16).digest() for name in names]
    targets = np.asarray(source.targets)
    is_val = np.zeros(len(targets), bool)
    by_class = np.argsort(targets, kind="stable")
    for members in np.split(by_class, np.flatnonzero(np.diff(targets[by_class])) + 1):
        ranked = sorted(members.tolist(), key=hashes.__getitem__)
        is_val[ranked[: _val_count(len(ranked), val_fraction)]] = True
    return Parts(_select(source, ~is_val), _select(source, is_val))


def _val_count(num_images: int, val_fraction: float) -> int:
    if val_fraction == 1:
        return num_images
    count = max(1, round(val_fraction * num_images))
    return min(count, num_images - 1)


def _select(source: Selectable, selected: np.ndarray) -> Selectable | None:
    return source.select(np.flatnonzero(selected)) if selected.any() else None
