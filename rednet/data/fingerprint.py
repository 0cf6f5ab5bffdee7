"""Tell whether two image sources hold the same images, wherever the files lie."""

import hashlib
import os
import unicodedata
from collections.abc import Mapping
from typing import Any

import numpy as np

from rednet.data.sources import ImageSource, SourceSubset, Splits

SAMPLE_SIZE = 16
"""Number of training images that are described one by one."""


def fingerprint(source: ImageSource) -> str:
    """Hash the sorted pairs of an image's relative name and its class's name.

    Neither the root of the files nor the order in which they are listed has an effect, nor have
    the contents of the files. The names of 1.28 million images take about a second.
    """
    names = portable_names(source)
    codes = np.array([_hash(os.fsencode(name)) for name in source.class_names], "V8")
    classes = codes[np.asarray(source.targets, np.intp)]
    order = np.argsort(names, kind="stable")
    result = hashlib.blake2b(digest_size=16)
    result.update(b"\0".join(names[order].tolist()))
    result.update(classes[order].tobytes())
    return result.hexdigest()


def portable_names(source: ImageSource) -> np.ndarray:
    """Return the names of a source's images relative to its root, with composed letters (NFC).

    Some file systems decompose the letters of the names that they are given.
    """
    names = np.ascontiguousarray(source.relative_names)
    if names.view(np.uint8).max() < 128:
        return names
    return np.array([_compose(name) for name in names.tolist()])


def _compose(name: bytes) -> bytes:
    try:
        return unicodedata.normalize("NFC", name.decode()).encode()
    except UnicodeDecodeError:
        return name


def describe_splits(name: str, splits: Splits) -> dict[str, Any]:
    """Describe the data of a run for its checkpoints.

    Each split is described as it is before `train_samples` and `val_samples`, by its fingerprint
    and its size. A few training images are described one by one, by hashes of name and content.

    Args:
        name: Kind of the data, the configuration's `data.name`.
        splits: The splits.
    """
    train, val = (_complete(source) for source in (splits.train, splits.val))
    sample = {} if train is None else _sample(train)
    return {"name": name, "train": _describe(train), "val": _describe(val), "sample": sample}


def _complete(source: ImageSource | None) -> ImageSource | None:
    return source.source if isinstance(source, SourceSubset) else source


def _describe(source: ImageSource | None) -> dict[str, Any] | None:
    if source is None:
        return None
    return {"fingerprint": fingerprint(source), "samples": len(source)}


def count_sampled(source: ImageSource, sample: Mapping[str, str]) -> int:
    """Return how many images of a sample that `describe_splits` took a source has."""
    if not sample:
        return 0
    hashes = (_hash(name).hex() for name in portable_names(source).tolist())
    known = {index: sample[name] for index, name in enumerate(hashes) if name in sample}
    return sum(_hash_content(source, index) == content for index, content in known.items())


def count_equal(one: Mapping[str, str], other: Mapping[str, str]) -> tuple[int, int]:
    """Return how many images two samples share by name, and how many of these by content."""
    shared = one.keys() & other.keys()
    return len(shared), sum(one[name] == other[name] for name in shared)


def _sample(source: ImageSource) -> dict[str, str]:
    """Return hashes of the contents of a few images, by hashes of their names."""
    names = portable_names(source)
    order = np.argsort(names, kind="stable")
    spread = np.linspace(0, len(order) - 1, min(SAMPLE_SIZE, len(order)))
    indices = order[spread.astype(int)].tolist()
    hashes = {_hash(names[index]).hex(): _hash_content(source, index) for index in indices}
    return {name: content for name, content in hashes.items() if content is not None}


def _hash_content(source: ImageSource, index: int) -> str | None:
    try:
        return _hash(source.read_bytes(index)).hex()
    except OSError:
        return None


def _hash(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=8).digest()
