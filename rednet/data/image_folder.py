"""A folder of class folders, with a validation folder or a split of the training images."""

from pathlib import Path

from rednet.data.image_files import (
    ImageFiles,
    images_by_class,
    join_names,
    label_images,
    subfolders,
)
from rednet.data.sources import Splits
from rednet.data.splitting import split_by_class
from rednet.errors import InputError

VAL_FOLDERS = ("val", "valid", "validation", "test")


def open_image_folder(root: str, *, val_fraction: float, seed: int) -> Splits:
    """Open ``root/train/<class>/`` with ``root/val/<class>/``, or split one folder of classes.

    The validation folder can be named val, valid, validation or test; the first one that exists is
    used. Without one, ``root/train``, or else ``root``, is split, class by class. A root with
    only a validation folder has no training split. Classes are sorted by name. Images in subfolders
    of a class folder belong to that class.

    Args:
        root: Folder of the data set.
        val_fraction: Fraction of each class's images to validate with, if the images are split.
        seed: Seed of the split.

    Raises:
        InputError: A folder is missing or empty, a class has no images, or the validation folder
            has a class that the training folder lacks.
    """
    folder = Path(root)
    names = subfolders(folder)
    val = next((name for name in VAL_FOLDERS if name in names), None)
    if "train" in names and val:
        return _open_train_val(folder / "train", folder / val)
    if "train" in names and subfolders(folder / "train"):
        return _open_split(folder / "train", val_fraction, seed)
    if val and set(names) <= set(VAL_FOLDERS):
        return Splits(train=None, val=_open_classes(folder / val))
    return _open_split(folder, val_fraction, seed)


def _open_classes(folder: Path) -> ImageFiles:
    images = images_by_class(folder)
    return _source(folder, list(images), images)


def _open_train_val(train_folder: Path, val_folder: Path) -> Splits:
    train = _open_classes(train_folder)
    images = images_by_class(val_folder)
    unknown = [name for name in images if name not in train.class_names]
    if unknown:
        raise InputError(
            f"classes in {val_folder} that {train_folder} lacks: {join_names(unknown)}"
        )
    return Splits(train=train, val=_source(val_folder, train.class_names, images))


def _open_split(folder: Path, val_fraction: float, seed: int) -> Splits:
    whole = _open_classes(folder)
    train, val = split_by_class(whole, val_fraction, seed)
    return Splits(train=train, val=val, whole=whole)


def _source(folder: Path, class_names: list[str], images: dict[str, list[str]]) -> ImageFiles:
    class_index = {name: index for index, name in enumerate(class_names)}
    return ImageFiles(folder, class_names, label_images(images, class_index))
