"""Tell whether two image sources hold the same images, wherever the files lie."""

import hashlib
import os
from typing import Any

import numpy as np

from rednet.data.sources import ImageSource, SourceSubset, Splits


def fingerprint(source: ImageSource) -> str:
    """Hash the sorted pairs of an image's relative name and its class's name.

    Neither the root of the files nor the order in which they are listed has an effect, nor have
    the contents of the files. The names of 1.28 million images take about a second.
    """
    names = source.relative_names
    codes = np.array([_hash_name(name) for name in source.class_names], np.uint64)
    classes = codes[np.asarray(source.targets, np.intp)]
    order = np.argsort(names, kind="stable")
    result = hashlib.blake2b(digest_size=16)
    result.update(b"\0".join(names[order].tolist()))
    result.update(classes[order].tobytes())
    return result.hexdigest()


def describe_splits(name: str, splits: Splits) -> dict[str, Any]:
    """Describe the data of a run for its checkpoints.

    The halves are described as they are before `train_samples` and `val_samples`.

    Args:
        name: Kind of the data, the configuration's `data.name`.
        splits: The halves.
    """
    return {"name": name, "train": _describe(splits.train), "val": _describe(splits.val)}


def _describe(source: ImageSource | None) -> dict[str, Any] | None:
    if source is None:
        return None
    complete = source.source if isinstance(source, SourceSubset) else source
    return {"fingerprint": fingerprint(complete), "samples": len(complete)}


def _hash_name(name: str) -> int:
    digest = hashlib.blake2b(os.fsencode(name), digest_size=8).digest()
    return int.from_bytes(digest, "little")
