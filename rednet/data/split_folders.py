"""Find the folders of training, validation and test images."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from rednet.data.folder_entries import has_images, identity
from rednet.data.folder_reader import FolderReader
from rednet.data.not_read import BESIDE, LOOSE_IMAGE
from rednet.data.split_names import TITLES, Split, parse_split
from rednet.errors import InputError
from rednet.wording import join_names, printable

Names = dict[Split, list[str]]
"""Names of the folders that can be each split."""


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
    while not (splits := _find_splits(folder, reader, by_name_alone)):
        inner = _lone_wrapper(folder, reader)
        if inner is None:
            return Layout(folder, {})
        folder = _step_into(inner, reader)
    _pass_over(folder, reader, splits.values())
    _require_distinct(folder, splits.values())
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
        folder = found[split] = _unwrap(splits[split], reader, known)
        if split == "train":
            known = known or reader.subfolders(folder)
        elif split == "test" and not _has_classes(folder, reader, known):
            del found[split]
            reader.unused[split] = f"{printable(folder)} has no folders of these classes"
    return found


def _unwrap(folder: Path, reader: FolderReader, known: Collection[str]) -> Path:
    """Return a folder, or the only folder in it that holds folders and is no known class."""
    while (inner := _lone_wrapper(folder, reader)) and inner.name not in known:
        folder = _step_into(inner, reader)
    return folder


def _has_classes(folder: Path, reader: FolderReader, known: Collection[str]) -> bool:
    """Return whether a folder holds several folders of images, or that of a known class."""
    found = list(islice(_with_images(folder, reader.subfolders(folder)), 2))
    return len(found) > 1 or bool(found and (not known or found[0] in known))


def _find_splits(folder: Path, reader: FolderReader, by_name_alone: bool) -> dict[Split, str]:
    """Return the name of each split's folder, or nothing if the folder holds classes.

    A training folder and another one whose names have the same other words are a pair, as
    ``seg_train`` and ``seg_test``. A folder without a counterpart could be a class: it is a split
    if it holds folders of images and no other folder here has images.
    """
    groups: dict[str, Names] = defaultdict(lambda: defaultdict(list))
    for name in reader.subfolders(folder):
        if parsed := parse_split(name):
            split, words = parsed
            groups[words][split].append(name)
    pairs = [
        names
        for words, names in groups.items()
        if "train" in names
        and len(names) > 1
        and (words == "" or by_name_alone or _is_nested(folder / names["train"][0], reader))
    ]
    if groups.get("") in pairs:
        pairs = [groups[""]]
    if len(pairs) > 1:
        raise _several("train", folder, [name for names in pairs for name in names["train"]])
    names = pairs[0] if pairs else _without_pair(folder, groups.values(), reader, by_name_alone)
    return {split: _only(split, folder, candidates) for split, candidates in names.items()}


def _without_pair(
    folder: Path, groups: Collection[Names], reader: FolderReader, by_name_alone: bool
) -> Names:
    """Return the folders that must be splits, although no two names match."""
    names: Names = defaultdict(list)
    for split, name in ((s, n) for group in groups for s, found in group.items() for n in found):
        if by_name_alone or _is_nested(folder / name, reader):
            names[split].append(name)
    if by_name_alone or not names:
        return names
    if len(names) == 1 and _holds_splits(folder / next(iter(names.values()))[0], reader):
        return {}
    others = [name for name in reader.subfolders(folder) if not parse_split(name)]
    others = list(islice(_with_images(folder, others), 3))
    if others and not ("train" in names and len(names) > 1):
        split, (name, *_) = next(iter(names.items()))
        raise InputError(
            f"{printable(folder)}: {printable(name)} is named like the {TITLES[split]} images, "
            f"{join_names(others)} like classes: call the splits train, val and test, or give "
            f"data.root={printable(folder / name)} to read it alone"
        )
    return names


def _holds_splits(folder: Path, reader: FolderReader) -> bool:
    return bool(_find_splits(folder, reader, by_name_alone=False))


def _only(split: Split, folder: Path, names: list[str]) -> str:
    """Return the only one of several folders; links to the same folder count once."""
    distinct = {identity(str(folder / name)): name for name in sorted(names, reverse=True)}
    if len(distinct) > 1:
        raise _several(split, folder, names)
    return next(iter(distinct.values()))


def _require_distinct(folder: Path, names: Collection[str]) -> None:
    if len({identity(str(folder / name)) for name in names}) < len(names):
        raise InputError(
            f"{printable(folder)}: {join_names(sorted(names))} are the same folder through a "
            "link: the training images would be those to validate with"
        )


def _several(split: Split, folder: Path, names: list[str]) -> InputError:
    return InputError(
        f"{printable(folder)} has several folders of {TITLES[split]} images: "
        f"{join_names(names)}; rename or move all but one"
    )


def _is_nested(folder: Path, reader: FolderReader) -> bool:
    """Return whether a folder holds folders of images, rather than images."""
    inner = len(list(islice(_with_images(folder, reader.subfolders(folder)), 2)))
    return inner == 2 or (inner == 1 and not reader.entries(folder).images)


def _lone_wrapper(folder: Path, reader: FolderReader) -> Path | None:
    """Return the only folder with images in a folder, if it holds folders rather than images."""
    inner = list(islice(_with_images(folder, reader.subfolders(folder)), 2))
    if len(inner) == 1 and _is_nested(folder / inner[0], reader):
        return folder / inner[0]
    return None


def _with_images(folder: Path, names: Collection[str]) -> Iterator[str]:
    return (name for name in names if has_images(folder / name))


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
