"""Folders that no other user can write to, opened without trusting any path twice.

Code is loaded only from such a folder. Neither the folder nor any folder above it may be writable
by, or belong to, anyone but us and root: whoever can write to one of them could replace what is
below. A folder above may be sticky, like /tmp, where others cannot rename what is ours.
"""

import contextlib
import os
import stat
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from rednet.wording import printable

MAX_LINKS = 40


class SharedError(OSError):
    """Others can write to a folder or file, or replace it; the message names it."""


@dataclass(frozen=True)
class PrivateFolder:
    """An open folder that was found to be private.

    Attributes:
        path: Its path without symbolic links.
        descriptor: Its file descriptor; files are opened relative to it.
    """

    path: Path
    descriptor: int

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.descriptor)

    def open_file(self, name: str) -> int:
        """Open a regular file that only we and root can have written; return its descriptor.

        Raises:
            SharedError: Others can write to it, or it is no regular file.
            OSError: It cannot be opened; it may be a symbolic link.
        """
        # Without O_NONBLOCK, a pipe that nobody writes to would be waited for.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        descriptor = os.open(name, flags, dir_fd=self.descriptor)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise SharedError(f"{printable(self.path / name)} is no regular file")
            _require_owner(self.path / name, status)
            _require_unwritable(self.path / name, status)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor


def open_private(path: Path, *, is_parent: bool = False) -> PrivateFolder:
    """Open a folder, created with its parents if missing, and check every folder on the way.

    Each folder is opened relative to the one before and checked by its descriptor, so that nothing
    can be exchanged between check and use. Symbolic links are followed if only we and root can have
    made them.

    Args:
        path: The folder.
        is_parent: Whether it only holds the private folder, and so may be sticky like /tmp.

    Raises:
        SharedError: Others can write to one of the folders, or replace it.
        OSError: A folder cannot be opened or created.
    """
    left = deque(os.path.abspath(path).split("/"))
    names: list[str] = []
    links = 0
    descriptor = _open_folder("/")
    try:
        _require_private(Path("/"), os.fstat(descriptor), may_be_sticky=is_parent or any(left))
        while left:
            name = left.popleft()
            if name in ("", "."):
                continue
            here = Path("/", *names, name)
            if target := _read_link(name, descriptor, here):
                links += 1
                if links > MAX_LINKS:
                    raise OSError(f"too many symbolic links in {printable(path)}")
                left.extendleft(reversed(target.split("/")))
                if not target.startswith("/"):
                    continue
                names, following = [], _open_folder("/")
            else:
                names = names[:-1] if name == ".." else [*names, name]
                following = _open_below(name, descriptor)
            os.close(descriptor)
            descriptor = following
            _require_private(here, os.fstat(descriptor), may_be_sticky=is_parent or any(left))
        return PrivateFolder(Path("/", *names), descriptor)
    except BaseException:
        os.close(descriptor)
        raise


def _open_folder(name: str, parent: int | None = None) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(name, flags, dir_fd=parent)


def _open_below(name: str, parent: int) -> int:
    """Open a folder inside another one, and create it if it is missing."""
    try:
        return _open_folder(name, parent)
    except FileNotFoundError:
        with contextlib.suppress(FileExistsError):  # another process was faster
            os.mkdir(name, 0o700, dir_fd=parent)
        return _open_folder(name, parent)


def _read_link(name: str, parent: int, path: Path) -> str | None:
    """Return where a symbolic link leads, None if this is none."""
    try:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if not stat.S_ISLNK(status.st_mode):
        return None
    if status.st_uid not in (os.geteuid(), 0):
        raise SharedError(f"{printable(path)} is another user's symbolic link")
    return os.readlink(name, dir_fd=parent)


def _require_private(path: Path, status: os.stat_result, *, may_be_sticky: bool) -> None:
    """Raise SharedError if others can put files into a folder, or replace what is ours in it."""
    _require_owner(path, status)
    if not (may_be_sticky and status.st_mode & stat.S_ISVTX):
        _require_unwritable(path, status)


def _require_owner(path: Path, status: os.stat_result) -> None:
    if status.st_uid not in (os.geteuid(), 0):
        raise SharedError(f"{printable(path)} belongs to another user ({status.st_uid})")


def _require_unwritable(path: Path, status: os.stat_result) -> None:
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        who = "everyone" if status.st_mode & stat.S_IWOTH else "its group"
        raise SharedError(f"{printable(path)} can be written by {who}")
