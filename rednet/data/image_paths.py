"""The image files that names stand for, found one after the other: files, folders, patterns, stdin.

The names in one folder, or those that one pattern matches, are in memory at the same time, since
they are sorted. A longer list is never made.
"""

import glob
import os
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from io import BufferedIOBase
from pathlib import Path
from typing import cast

from rednet.data.folder_entries import (
    IMAGE_SUFFIXES,
    identities_around,
    identity,
    is_image_name,
    scan,
)
from rednet.data.not_read import READ_ELSEWHERE, UNLISTABLE, NotRead
from rednet.errors import InputError
from rednet.wording import printable

STDIN = "-"
"""The name that stands for the names on stdin."""

CHUNK_BYTES = 65536


def count_images(names: Sequence[str], not_read: NotRead) -> int | None:
    """Return how many images `find_images` finds, None if stdin is one of the names.

    Args:
        names: Names, as `find_images` takes them.
        not_read: Receives what is passed over.

    Raises:
        InputError: A name stands for nothing, or for no image.
    """
    count = 0
    for name in names:
        found = 0 if name == STDIN else sum(1 for _ in _find(name, not_read))
        if found == 0 and name != STDIN:
            raise InputError(
                f"images={printable(name)}: has no images ({', '.join(sorted(IMAGE_SUFFIXES))})"
            )
        count += found
    return None if STDIN in names else count


def find_images(names: Sequence[str], not_read: NotRead) -> Iterator[str]:
    """Yield the path of each image, in the order of the names.

    A file stands for itself, whatever its suffix. A folder stands for the images in it at any
    depth, each real folder once. Anything else is a pattern such as ``photos/*/[0-9]*.jpg`` or
    ``photos/**/*.png``. ``-`` stands for the files and folders that stdin lists, separated by line
    breaks or, as from ``find -print0``, by null bytes.

    Args:
        names: The names.
        not_read: Receives what is passed over.

    Raises:
        InputError: A name stands for nothing.
    """
    for name in names:
        yield from _find_listed(not_read) if name == STDIN else _find(name, not_read)


def _find(name: str, not_read: NotRead) -> Iterator[str]:
    if os.path.isdir(name):
        return _walk(name, not_read)
    if os.path.lexists(name):
        return iter([name])
    if not glob.has_magic(name):
        raise InputError(f"images={printable(name)}: no such file or folder")
    return _match(name, not_read)


def _match(pattern: str, not_read: NotRead) -> Iterator[str]:
    """Yield the images that a pattern matches, and those in folders that it matches."""
    matches = sorted(glob.iglob(pattern, recursive=True))
    if not matches:
        hint = "; write [[] for a bracket" if "[" in pattern else ""
        raise InputError(f"images={printable(pattern)}: matches no file or folder{hint}")
    for path in matches:
        if os.path.isdir(path):
            if "**" not in pattern:  # which matches what is in the folder, too
                yield from _walk(path, not_read)
        elif is_image_name(os.path.basename(path)):
            yield path
        else:
            not_read.add_by_suffix(path)


def _walk(root: str, not_read: NotRead) -> Iterator[str]:
    """Yield the images in a folder at any depth, those in folders that are links last."""
    seen = identities_around(Path(root)) - {identity(root)}
    folders, links = [root], deque[str]()
    while folders or links:
        folder = folders.pop() if folders else links.popleft()
        if (key := identity(folder)) in seen:
            not_read.add(READ_ELSEWHERE, folder)
            continue
        seen.add(key)
        try:
            entries = scan(folder, not_read)
        except OSError as error:
            if folder == root:
                raise InputError(
                    f"images={printable(root)}: cannot be listed: {error.strerror}"
                ) from error
            not_read.add(UNLISTABLE, folder, error.strerror)
            continue
        inside = "" if folder == os.curdir else folder
        yield from (os.path.join(inside, name) for name in sorted(entries.images))
        folders += [os.path.join(inside, name) for name in sorted(entries.folders, reverse=True)]
        links += [os.path.join(inside, name) for name in sorted(entries.links)]


def _find_listed(not_read: NotRead) -> Iterator[str]:
    if sys.stdin is None:
        raise InputError("images=-: there is no stdin")
    for name in split_names(cast(BufferedIOBase, sys.stdin.buffer)):
        yield from _walk(name, not_read) if os.path.isdir(name) else [name]


def split_names(stream: BufferedIOBase) -> Iterator[str]:
    """Yield the names in a stream, separated by null bytes if its first part has any."""
    rest, separator = b"", b""
    while chunk := stream.read1(CHUNK_BYTES):
        separator = separator or (b"\0" if b"\0" in chunk else b"\n")
        *complete, rest = (rest + chunk).split(separator)
        yield from _decode(complete, separator)
    yield from _decode([rest], separator)


def _decode(names: Sequence[bytes], separator: bytes) -> Iterator[str]:
    for name in names:
        name = name.removesuffix(b"\r") if separator == b"\n" else name
        if name:
            yield os.fsdecode(name)
