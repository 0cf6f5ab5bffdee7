"""Find the folders of the splits or classes in a data set."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from rednet.data.folder_reader import FolderReader
from rednet.data.not_read import BESIDE, LOOSE_IMAGE
from rednet.data.split_folders import choose_splits
from rednet.data.split_names import TITLES, Split
from rednet.wording import printable


@dataclass(frozen=True)
class Layout:
    """The folders of a data set.

    Attributes:
        folder: Folder that holds the splits, or the classes if there are no splits.
        splits: Folder of each split.
    """

    folder: Path
    splits: dict[Split, Path]


def find_layout(root: Path, reader: FolderReader, *, by_name_alone: bool = False) -> Layout:
    """Find the splits in a folder, or in the only folder in it that holds images.

    Args:
        root: Folder of the data set.
        reader: Reader of the folders.
        by_name_alone: Whether a folder with the name of a split is one whatever it holds.

    Raises:
        InputError: A folder cannot be read, or it is not clear which folder is a split.
    """
    folder = root
    while not (splits := choose_splits(folder, reader, by_name_alone)):
        inner = _lone_wrapper(folder, reader)
        if inner is None:
            return Layout(folder, {})
        folder = _step_into(inner, reader)
    _pass_over(folder, reader, splits.values())
    return Layout(folder, {split: folder / name for split, name in splits.items()})


def find_class_folders(
    splits: Mapping[Split, Path], reader: FolderReader, known: Collection[str] = ()
) -> dict[Split, Path]:
    """Return the folder of each split's class folders, which can be in a lone folder in it.

    Test images without class folders, as in competitions, have no labels and are left out.

    Args:
        splits: Folder of each split.
        reader: Reader of the folders.
        known: Names of classes, if known without the training images.
    """
    found: dict[Split, Path] = {}
    for split in (split for split in TITLES if split in splits):
        folder = found[split] = unwrap(splits[split], reader, known)
        if split == "train":
            known = known or reader.subfolders(folder)
        elif split == "test" and not _has_classes(folder, reader, known):
            del found[split]
            reader.unused[split] = f"{printable(folder)} has no folders of these classes"
    return found


def unwrap(folder: Path, reader: FolderReader, known: Collection[str]) -> Path:
    """Return a folder, or the only folder in it that holds folders and is no known class."""
    while (inner := _lone_wrapper(folder, reader)) and inner.name not in known:
        folder = _step_into(inner, reader)
    return folder


def _has_classes(folder: Path, reader: FolderReader, known: Collection[str]) -> bool:
    """Return whether a folder holds several folders of images, or that of a known class."""
    found = list(islice(reader.folders_with_images(folder), 2))
    return len(found) > 1 or bool(found and (not known or found[0] in known))


def _lone_wrapper(folder: Path, reader: FolderReader) -> Path | None:
    """Return the only folder with images in a folder, if it holds folders rather than images."""
    inner = list(islice(reader.folders_with_images(folder), 2))
    if len(inner) == 1 and reader.is_nested(folder / inner[0]):
        return folder / inner[0]
    return None


def _step_into(inner: Path, reader: FolderReader) -> Path:
    """Record that only one folder of its parent is read, and return it."""
    reader.notes.append(
        f"{printable(inner)} is read: no other folder in {printable(inner.parent)} holds images"
    )
    _pass_over(inner.parent, reader, [inner.name])
    return inner


def _pass_over(folder: Path, reader: FolderReader, read: Collection[str]) -> None:
    """Record the folders and images of a folder that are not among those read."""
    for name in reader.subfolders(folder):
        if name not in read:
            reader.not_read.add(BESIDE, str(folder / name))
    for name in reader.entries(folder).images:
        reader.not_read.add(LOOSE_IMAGE, str(folder / name))
