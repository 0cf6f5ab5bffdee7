"""Output files: atomic writes, and flat records as CSV or JSON text."""

import csv
import errno
import io
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from rednet.errors import InputError

Record = Mapping[str, Any]

WITHOUT_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)
"""Errors of file systems that cannot bring a folder to the disk, such as some network shares."""

_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20].")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?(e[+-]?\d+)?")


@contextmanager
def open_atomically(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that is complete or absent, even after power loss.

    It gets its name when the context ends without an exception.

    Args:
        path: File to create or replace. Missing parent folders are created.

    Raises:
        OSError: The file cannot be written. An existing file keeps its content.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(path)
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            # The content must be on the disk before the rename, which may reach it first.
            os.fsync(file.fileno())
        partial.replace(path)
    except RuntimeError as error:
        # torch.save replaces the error of a full disk with one of its own, about a position.
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise
    finally:
        partial.unlink(missing_ok=True)
    _sync_folder(path.parent)


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file by a function of the open binary file; see `open_atomically`."""
    with open_atomically(path) as file:
        write(file)


def write_text_atomically(path: Path, text: str) -> None:
    """Write text as UTF-8; see `write_atomically`."""
    write_atomically(path, lambda file: file.write(text.encode()))


def require_free(path: Path, source: Path, overwrite: bool) -> None:
    """Check that a command may write its output to a file.

    Args:
        path: The output.
        source: The file that the command reads, which is never replaced.
        overwrite: Whether to replace an existing file.

    Raises:
        InputError: It may not.
    """
    if path.is_dir():
        raise InputError(f"output={path}: is a folder, not a file")
    _require_writable_folder(path)
    if not path.exists():
        return
    if source.exists() and path.samefile(source):
        raise InputError(f"output={path}: is the checkpoint itself; choose another name")
    if not overwrite:
        raise InputError(f"output={path}: exists; overwrite=true replaces it")


def _require_writable_folder(path: Path) -> None:
    """Raise InputError if a file's folder is missing and cannot be made, or cannot be written."""
    folder = next(folder for folder in path.absolute().parents if folder.exists())
    if not folder.is_dir():
        raise InputError(f"output={path}: {folder.name} is a file, not a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"output={path}: no permission to write in {folder}")


def link_atomically(path: Path, link: Path) -> None:
    """Make `link` a hard link to `path`, or a copy where the file system has no hard links.

    An existing `link` is replaced in one step.
    """
    partial = _partial(link)
    partial.unlink(missing_ok=True)
    try:
        os.link(path, partial)
    except OSError:
        with path.open("rb") as source:
            write_atomically(link, lambda copy: shutil.copyfileobj(source, copy))
        return
    try:
        partial.replace(link)
    finally:
        partial.unlink(missing_ok=True)
    _sync_folder(link.parent)


def remove_partial_files(folder: Path) -> None:
    """Delete what processes that died while they wrote left in a folder.

    No other process may be writing to it.
    """
    for path in folder.glob(".*.partial"):
        path.unlink()


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


def _sync_folder(folder: Path) -> None:
    # A rename is on the disk only after the folder is. Some file systems cannot do this for a
    # folder, or do not let it be opened.
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in WITHOUT_FOLDER_SYNC:
            raise
    finally:
        os.close(descriptor)


def to_csv(
    records: Sequence[Record], line_end: str = "\n", columns: Sequence[str] | None = None
) -> str:
    """Format records with the same keys as CSV, with a header line.

    Text is quoted by `quote_formula`. Without `columns`, which may be all that an empty table has,
    there must be a record.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns or list(records[0]), lineterminator=line_end)
    writer.writeheader()
    writer.writerows({key: quote_formula(value) for key, value in r.items()} for r in records)
    return text.getvalue()


def quote_formula(value: Any) -> Any:
    """Put an apostrophe before text that a spreadsheet takes for a formula, such as ``=1+1``."""
    is_formula = isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value)
    return f"'{value}" if is_formula else value


def to_json(content: Record, name: str, records: Sequence[Record]) -> str:
    """Format `content`, followed by the records under the key `name`, one line per record."""
    head = json.dumps(content, indent=1).removesuffix("\n}")
    lines = ",\n  ".join(json.dumps(record) for record in records)
    return f'{head},\n "{name}": [\n  {lines}\n ]\n}}\n'
