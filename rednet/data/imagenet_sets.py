"""Sets of images to evaluate networks of ImageNet-1k with: V2, ReaL, Sketch, A and R."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path, PurePosixPath

import numpy as np

from rednet.data.class_folders import images_by_class, warn_of_missing
from rednet.data.folder_layout import unwrap
from rednet.data.folder_reader import FolderReader
from rednet.data.image_files import ImageFiles, label_images
from rednet.data.imagenet import open_imagenet
from rednet.data.imagenet_names import imagenet_synsets, val_number
from rednet.data.sources import ImageSource, Splits
from rednet.data.splitting import Selectable
from rednet.errors import InputError
from rednet.wording import count, join_names, printable


@dataclass(frozen=True)
class EvaluationSet:
    """A set of images to evaluate with.

    Attributes:
        title: Its usual name.
        synsets: File of timm's with the synsets of its classes, None for all 1,000.
    """

    title: str
    synsets: str | None = None


REAL = "imagenet_real"
EVALUATION_SETS = {
    "imagenet_v2": EvaluationSet("ImageNet-V2"),
    REAL: EvaluationSet("ImageNet ReaL"),
    "imagenet_sketch": EvaluationSet("ImageNet-Sketch"),
    "imagenet_a": EvaluationSet("ImageNet-A", "imagenet_a_synsets.txt"),
    "imagenet_r": EvaluationSet("ImageNet-R", "imagenet_r_synsets.txt"),
}
"""The sets by the configuration's `data.name`."""


def open_evaluation_set(name: str, root: str) -> Splits:
    """Open a set of images as validation images; their classes are the 1,000 synsets.

    Its folder, or a folder around it, has a folder for each class, named by its synset or its
    number from 0 to 999. The images of ReaL are the validation images of ImageNet, without those
    that have no ReaL label.

    Args:
        name: Name of the set, one of `EVALUATION_SETS`.
        root: Its folder; for ReaL that of ImageNet.

    Raises:
        InputError: The folder is missing or has others than those of the set's classes.
    """
    if name == REAL:
        return _open_real(root)
    title = EVALUATION_SETS[name].title
    synsets = imagenet_synsets()
    numbers = {synset: number for number, synset in enumerate(synsets)}
    numbers |= {str(number): number for number in range(len(synsets))}
    expected = counted_synsets(name) or synsets
    reader = FolderReader()
    folder = unwrap(Path(root), reader, numbers)
    (listing,) = reader.list_images([folder])
    unknown = [each for each in listing.images if synsets[numbers.get(each, 0)] not in expected]
    unknown += [each for each in listing.images if each not in numbers]
    if unknown:
        raise InputError(
            f"{printable(folder)} has folders that are not among the {len(expected)} classes of "
            f"{title}, which are named {expected[0]} or {numbers[expected[0]]} and so on: "
            f"{join_names(unknown)}"
        )
    images = images_by_class(listing, reader)
    found = {synsets[numbers[each]] for each in images}
    source = ImageFiles(folder, list(synsets), label_images(images, numbers))
    return Splits(
        train=None,
        val=source,
        origins={"val": printable(folder)},
        notes=(*reader.notes, *warn_of_missing(expected, found, title)),
        not_read=reader.not_read,
    )


def _open_real(root: str) -> Splits:
    splits = open_imagenet(root, train=False)
    source: Selectable = splits.val  # type: ignore[assignment]  # files, or images in a tar
    has_label = (real_labels(source) >= 0).any(1)
    if not has_label.any():
        raise InputError(f"{splits.origins['val']} has no image with a ReaL label")
    left_out = count(int((~has_label).sum()), "image")
    note = f"left out, without a ReaL label: {left_out} of {len(source)}"
    selected = source.select(np.flatnonzero(has_label))
    return replace(splits, val=selected, test=None, notes=(*splits.notes, note))


def counted_synsets(name: str) -> tuple[str, ...] | None:
    """Return the synsets of a set's classes in the order of ImageNet's, None for all 1,000."""
    file = EVALUATION_SETS[name].synsets if name in EVALUATION_SETS else None
    return None if file is None else tuple(_read(file).split())


def real_labels(source: ImageSource) -> np.ndarray:
    """Return the ReaL labels of validation images of ImageNet (N, K) int64, filled up with -1.

    Beyer et al., "Are we done with ImageNet?", arXiv 2006.07159.

    Raises:
        InputError: An image is none of the 50,000.
    """
    names = [bytes(name).decode(errors="replace") for name in source.relative_names.tolist()]
    numbers = [val_number(PurePosixPath(name).name) for name in names]
    return _all_real_labels()[np.array(numbers, np.intp) - 1]


@cache
def _all_real_labels() -> np.ndarray:
    labels: Sequence[Sequence[int]] = json.loads(_read("imagenet_real_labels.json"))
    table = np.full((len(labels), max(map(len, labels))), -1, np.int64)
    for row, each in enumerate(labels):
        table[row, : len(each)] = each
    return table


def _read(name: str) -> str:
    return (files("timm.data") / "_info" / name).read_text("utf-8")
