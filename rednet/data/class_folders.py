"""Folders of classes: their names and images, and what cannot be meant."""

import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Container, Hashable, Iterable
from pathlib import Path

from rednet.data.folder_entries import is_image_name
from rednet.data.folder_reader import FolderReader
from rednet.data.listing import Listing
from rednet.data.not_read import LOOSE_IMAGE, count_suffixes, suffix_of
from rednet.data.split_names import is_numbered_part, parse_split, without_digits
from rednet.errors import InputError
from rednet.wording import class_name, count, join_names, printable

ARCHIVES = frozenset((
    ".7z", ".bz2", ".gz", ".rar", ".tar", ".tgz", ".xz", ".zip", ".zst",
))  # fmt: skip
TABLES = frozenset((
    ".arrow", ".csv", ".h5", ".hdf5", ".json", ".lmdb", ".mat", ".npy", ".npz", ".parquet",
    ".pkl", ".tfrecord",
))  # fmt: skip
NOT_CLASSES = frozenset((
    "annotation", "annotations", "data", "gt", "image", "images", "img", "imgs",
    "jpegimages", "label", "labels", "mask", "masks", "photo", "photos", "picture",
    "pictures", "segmentation", "segmentationclass", "segmentationobject", "segmentations",
))  # fmt: skip
"""Names, in lower case, that folders of classes do not have."""


def images_by_class(listing: Listing, reader: FolderReader) -> dict[str, list[str]]:
    """Map each class, in the order of the folders' names, to its images.

    Raises:
        InputError: There are no class folders, one has no images, or two have the same name.
    """
    root = printable(listing.root)
    if not listing.images:
        if links := reader.subfolders(listing.root):
            raise InputError(
                f"links in {root} to folders that are read elsewhere: {join_names(links)}"
            )
        raise InputError(_describe_without_classes(listing.root))
    empty = [name for name, images in listing.images.items() if not images]
    if empty:
        named = join_names([f"{name} ({_describe_empty(listing, name)})" for name in empty])
        raise InputError(
            f"class folders without images in {root}: {named}; add images or remove the folders"
        )
    _refuse_splits_in_classes(listing)
    for same in _groups(listing.images, class_name):
        raise InputError(
            f"class folders in {root} with the same name in different Unicode forms: "
            f"{join_names([ascii(name) for name in same])}"
        )
    for image in reader.entries(listing.root).images:
        reader.not_read.add(LOOSE_IMAGE, f"{listing.root}/{image}")
    return {class_name(name): images for name, images in listing.images.items()}


def _refuse_splits_in_classes(listing: Listing) -> None:
    for name in listing.images:
        splits: dict[str, dict[str, str]] = defaultdict(dict)
        for path in sorted(listing.inner.get(name, ())):
            parent, _, folder = path.rpartition("/")
            if parsed := parse_split(folder):
                splits[parent][parsed[0]] = folder
        for parent, found in splits.items():
            if "train" in found and len(found) > 1:
                path = printable(listing.root / name / parent)
                raise InputError(
                    f"{printable(name)} is no class: {path} holds "
                    f"{join_names(sorted(found.values()))}; give data.root={path}"
                )


def _describe_empty(listing: Listing, name: str) -> str:
    """Return why a class folder has no images, or what it holds instead."""
    folder = listing.root / name
    if name in listing.unlistable:
        return listing.unlistable[name]
    suffixes = Counter(suffix_of(file) for _, _, files in os.walk(folder) for file in files)
    return count_suffixes(suffixes, limit=3) if suffixes else "no files"


def _could_be_class(name: str) -> bool:
    return name.casefold() not in NOT_CLASSES and (parse_split(name) or ("", name))[1] != ""


def require_several(listing: Listing) -> None:
    """Require two classes to tell apart, at least.

    Raises:
        InputError: There is only one class folder, or none has the name of a class.
    """
    root, names = printable(listing.root), list(listing.images)
    if all(name.casefold() in NOT_CLASSES for name in names):
        raise InputError(
            f"{root} has no folders of classes, only {join_names(names)}: expected "
            f"{root}/<class>/<image>"
        )
    if len(names) == 1:
        raise InputError(
            f"{root} has a single class, {join_names(names)}: expected a folder for each of two "
            "or more classes"
        )


def warn_of_names(listing: Listing) -> list[str]:
    """Return a line for each way in which the names of the folders are unlikely to be classes."""
    names, root = list(listing.images), printable(listing.root)
    lines = [
        f"warning: classes {join_names(similar)} in {root} differ only in case or spaces"
        for similar in _groups(names, _fold)
    ]
    odd = [name for name in names if not _could_be_class(name)]
    if len({without_digits(name) for name in names}) == 1 and all(map(is_numbered_part, names)):
        odd = names
    if odd:
        lines.append(f"warning: taken for {'classes' if odd[1:] else 'a class'}: {join_names(odd)}")
    shared = set.intersection(*(listing.inner.get(name, set()) for name in names))
    shared = {path for path in shared if _could_be_class(path.rpartition("/")[2])}
    if len(shared) > 1 or (shared and len(names) <= 3):
        lines.append(
            f"warning: each class in {root} has folders named {join_names(sorted(shared))}: if "
            f"these are the classes, give data.root one of {join_names(names)}, or call them "
            "train, val and test"
        )
    return lines


def warn_of_missing(classes: Iterable[str], found: Container[str], title: str) -> list[str]:
    """Return a line if classes that are trained are not among those found in another split."""
    missing = [name for name in classes if name not in found]
    line = f"warning: no {title} images of {count(len(missing), 'class')}: {join_names(missing)}"
    return [line] if missing else []


def _fold(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).casefold().replace("_", " ").split())


def _groups(names: Iterable[str], key: Callable[[str], Hashable]) -> list[list[str]]:
    """Return the names that share a key with another name, together."""
    groups = defaultdict(list)
    for name in names:
        groups[key(name)].append(name)
    return [group for group in groups.values() if len(group) > 1]


def _describe_without_classes(root: Path) -> str:
    """Return what a folder without class folders holds, and what is expected."""
    with os.scandir(root) as entries:
        names = [entry.name for entry in entries if not entry.name.startswith(".")]
    path = printable(root)
    if not names:
        return f"data folder {path} is empty: expected {path}/<class>/<image>"
    suffixes = Counter(map(suffix_of, names))
    return (
        f"data folder {path} has no class folders, only {count_suffixes(suffixes)}: "
        f"expected {path}/<class>/<image>{hints_for(names)}"
    )


def hints_for(names: Collection[str]) -> str:
    """Return what to do with files that are not in class folders, for the end of a message."""
    suffixes, hints = {suffix_of(name) for name in names}, ""
    if any(is_image_name(name) for name in names):
        hints += "; images without folders have no labels: move them into a folder for each class"
    if ARCHIVES & suffixes:
        hints += "; unpack archives"
    if TABLES & suffixes:
        hints += "; a table of paths and labels (CSV, parquet) is read by data=csv data.table=FILE"
    return hints
