"""A folder of class folders, with folders for the splits or a split of the training images."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from rednet.data.class_folders import (
    images_by_class,
    require_several,
    warn_of_missing,
    warn_of_names,
)
from rednet.data.folder_layout import find_class_folders, find_layout
from rednet.data.folder_reader import FolderReader
from rednet.data.image_files import ImageFiles, label_images
from rednet.data.listing import Listing
from rednet.data.sources import Splits
from rednet.data.split_names import TITLES, Split
from rednet.data.splitting import split_by_class
from rednet.errors import InputError
from rednet.wording import join_names, printable


def open_image_folder(root: str, *, val_fraction: float, seed: int) -> Splits:
    """Open ``root/train/<class>/`` with ``root/val/<class>/``, or split one folder of classes.

    The folders of the splits are recognised by name: see `parse_split`. A folder of test images is
    also the validation data where there is no other. Without both, the training images, or else
    the classes in ``root``, are split, class by class. A root with only validation or test images
    has no training split. Classes are in the text order of their folders' names. Images in
    subfolders of a class folder belong to that class.

    Args:
        root: Folder of the data set.
        val_fraction: Fraction of each class's images to validate with, if the images are split.
        seed: Seed of the split.

    Raises:
        InputError: A folder is missing or empty, a class has no images, there is only one class,
            the validation folder has a class that the training folder lacks, or it is not clear
            which folders are meant.
    """
    reader = FolderReader()
    layout = find_layout(Path(root), reader)
    folders = find_class_folders(layout.splits, reader)
    if folders.keys() - {"train"}:
        splits = _open_splits(folders, reader)
    else:
        splits = _open_split(folders.get("train", layout.folder), reader, val_fraction, seed)
    return replace(
        splits, notes=tuple(reader.notes), unused=reader.unused, not_read=reader.not_read
    )


def _open_splits(folders: Mapping[Split, Path], reader: FolderReader) -> Splits:
    """Open one folder for each split."""
    listings = dict(zip(folders, reader.list_images(list(folders.values())), strict=True))
    first = next(iter(listings))
    images = images_by_class(listings[first], reader)
    require_several(listings[first])
    reader.notes += warn_of_names(listings[first])
    classes = list(images)
    sources: dict[Split, ImageFiles] = {first: _source(folders[first], classes, images)}
    for split in list(listings)[1:]:
        try:
            sources[split] = _open_known_classes(listings[split], classes, split, reader)
        except InputError as error:
            if split != "test" or "val" not in sources:
                raise
            reader.unused[split] = str(error)
    val: Split = "val" if "val" in sources else "test"
    origins: dict[str, str] = {split: printable(source.root) for split, source in sources.items()}
    return Splits(
        train=sources.get("train"),
        val=sources[val],
        test=sources.get("test"),
        origins=origins | {"val": origins[val]},
    )


def _open_known_classes(
    listing: Listing, classes: list[str], split: Split, reader: FolderReader
) -> ImageFiles:
    """Open a folder whose classes are those of the training images, or some of them."""
    images = images_by_class(listing, reader)
    if unknown := [name for name in images if name not in classes]:
        raise InputError(
            f"classes in {printable(listing.root)} that the training images lack: "
            f"{join_names(unknown)}"
        )
    reader.notes += warn_of_missing(classes, images, TITLES[split])
    return _source(listing.root, classes, images)


def _open_split(folder: Path, reader: FolderReader, val_fraction: float, seed: int) -> Splits:
    """Split the images of each class in a folder."""
    (listing,) = reader.list_images([folder])
    images = images_by_class(listing, reader)
    require_several(listing)
    reader.notes += warn_of_names(listing)
    whole = _source(folder, list(images), images)
    train, val = split_by_class(whole, val_fraction, seed)
    origins = dict.fromkeys(("train", "val"), printable(folder))
    return Splits(train=train, val=val, whole=whole, origins=origins)


def _source(folder: Path, class_names: list[str], images: dict[str, list[str]]) -> ImageFiles:
    class_index = {name: index for index, name in enumerate(class_names)}
    return ImageFiles(folder, class_names, label_images(images, class_index))
