"""What one folder holds: folders, images, and files that are passed over."""

import os
import stat
from pathlib import Path
from typing import NamedTuple

from rednet.data.not_read import BROKEN_LINK, HIDDEN, NOT_A_FILE, NotRead

IMAGE_SUFFIXES = frozenset((
    ".apng", ".avif", ".bmp", ".dib", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg",
    ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp",
))  # fmt: skip
SYSTEM_NAMES = frozenset((
    "$recycle.bin", "@eadir", "__macosx", "__pycache__", "desktop.ini", "ehthumbs.db",
    "lost+found", "system volume information", "thumbs.db",
))  # fmt: skip
"""Names, in lower case, of what operating systems and tools leave in folders."""


Identity = tuple[int, int] | str
"""What all paths to a file or folder have in common: device and inode, or else a path."""


class Entries(NamedTuple):
    """Names in a folder.

    Attributes:
        folders: Its folders.
        links: Its links to folders.
        images: Its image files, and links to files that are named like images.
        linked: The files that these links lead to.
    """

    folders: list[str]
    links: list[str]
    images: list[str]
    linked: dict[str, Identity]


def scan(folder: str, not_read: NotRead) -> Entries:
    """Sort the entries of a folder and record those that are passed over.

    No file is opened; only links cost a system call each.

    Raises:
        OSError: The folder cannot be listed.
    """
    found = Entries([], [], [], {})
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if is_image_name(name) and entry.is_file(follow_symlinks=False):
                found.images.append(name)  # first, because these can be a million
            elif name.startswith(".") or name.lower() in SYSTEM_NAMES:
                not_read.add(HIDDEN, entry.path)
            elif entry.is_dir(follow_symlinks=False):
                found.folders.append(name)
            elif entry.is_symlink():
                _follow(entry, found, not_read)
            elif entry.is_file(follow_symlinks=False):
                not_read.add_by_suffix(entry.path)
            else:
                not_read.add(NOT_A_FILE, entry.path)
    return found


def _follow(link: os.DirEntry[str], found: Entries, not_read: NotRead) -> None:
    """Sort a link by what it leads to."""
    try:
        status = os.stat(link.path)
    except OSError as error:
        not_read.add(BROKEN_LINK, link.path, error.strerror)
        return
    if stat.S_ISDIR(status.st_mode):
        found.links.append(link.name)
    elif not stat.S_ISREG(status.st_mode):
        not_read.add(NOT_A_FILE, link.path)
    elif is_image_name(link.name):
        found.images.append(link.name)
        found.linked[link.name] = status.st_dev, status.st_ino
    else:
        not_read.add_by_suffix(link.path)


def is_image_name(name: str) -> bool:
    """Return whether a file name has the suffix of an image, in upper or lower case."""
    dot = name.rfind(".")
    return dot > 0 and name[dot:].lower() in IMAGE_SUFFIXES and name[0] != "."


def has_images(folder: Path) -> bool:
    """Return whether a folder holds an image at any depth, links to folders around it aside."""
    around = identities_around(folder) | identities_around(folder.parent)
    seen = around - {identity(str(folder))}
    pending = [str(folder)]
    while pending:
        path = pending.pop()
        if (key := identity(path)) in seen:
            continue
        seen.add(key)
        try:
            entries = scan(path, NotRead())
        except OSError:
            continue
        if entries.images:
            return True
        pending += [f"{path}/{name}" for name in entries.folders + entries.links]
    return False


def identity(path: str) -> Identity:
    """Return what is the same for all paths to a file or folder; one that is missing is unique."""
    try:
        status = os.stat(path)
    except OSError:
        return path
    return status.st_dev, status.st_ino


def identities_around(folder: Path) -> set[Identity]:
    """Return the identities of a folder and of all folders that contain it."""
    real = Path(os.path.realpath(folder))
    return {identity(str(path)) for path in (real, *real.parents)}
