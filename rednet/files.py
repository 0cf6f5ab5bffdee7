"""Files that are there whole, even after a power cut, or not at all."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Writes a file under another name beside it and renames it when it is on the disk.

    Args:
        path: The new file, or one to be replaced; its folder is made.
        write: Writes the content.

    Raises:
        OSError: It cannot be written; what was there before is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(path)
    try:
        with partial.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    _sync_folder(path.parent)


def write_text_atomically(path: Path, text: str) -> None:
    """Writes a text as UTF-8, as `write_atomically` does."""
    write_atomically(path, lambda file: file.write(text.encode()))


def link_atomically(path: Path, name: Path) -> None:
    """Makes `name` another name of a file, in one step; a copy where the disk knows no links."""
    partial = _partial(name)
    partial.unlink(missing_ok=True)
    try:
        os.link(path, partial)
    except OSError:
        partial.write_bytes(path.read_bytes())
    partial.replace(name)
    _sync_folder(name.parent)


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
