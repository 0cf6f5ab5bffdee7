"""Where the files in a tar file begin, so that each can be read without the others."""

import os
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from rednet.data.image_reading import open_regular
from rednet.errors import InputError
from rednet.files import write_atomically
from rednet.program import working
from rednet.wording import printable

VERSION = 1
COMPRESSED = (b"\x1f\x8b", b"BZ", b"\xfd7", b"\x28\xb5")
"""First bytes of files compressed by gzip, bzip2, xz and zstd."""


class TarIndex(NamedTuple):
    """The regular files in a tar file, in its order.

    Attributes:
        names: Their names, an array of bytes (N,); of a tar in the tar, ``<its name>/<name>``.
        offsets: Position of the first byte of each, in bytes from the start of the tar (N,) int64.
        sizes: Number of bytes of each (N,) int64.
    """

    names: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray


def index_path(tar: Path) -> Path:
    """Return where the index of a tar file is stored."""
    return tar.with_name(f"{tar.name}.index.npz")


def open_index(tar: Path, *, nested: bool = False) -> tuple[TarIndex, str]:
    """Return the index of a tar file, as `stored_arrays` does, and the line about storing it.

    Args:
        tar: The tar file, not compressed.
        nested: Whether its files are tar files, whose files are meant.

    Raises:
        InputError: The tar is missing, truncated, compressed or no tar file.
    """

    def make(file: IO[bytes]) -> dict[str, np.ndarray]:
        found = list(tar_members(file, nested=nested))
        names, offsets, sizes = zip(*found, strict=True) if found else ((), (), ())
        encoded = np.array([os.fsencode(name) for name in names], "S")
        return {
            "names": encoded,
            "offsets": np.array(offsets, np.int64),
            "sizes": np.array(sizes, np.int64),
        }

    arrays, note = stored_arrays(tar, f"files {nested}", make)
    return TarIndex(**arrays), note


def stored_arrays(
    tar: Path, kind: str, make: Callable[[IO[bytes]], dict[str, np.ndarray]]
) -> tuple[dict[str, np.ndarray], str]:
    """Return arrays that are made of a tar file: stored ones, or new ones if it has changed since.

    They are stored next to the tar, with its size and time. Those of another kind, of another
    version of the tar, or damaged ones are replaced.

    Args:
        tar: The tar file.
        kind: What the arrays depend on apart from the tar.
        make: Makes them of the open tar file.

    Returns:
        The arrays, and a line if they could not be stored, otherwise an empty one.

    Raises:
        InputError: The tar is missing, truncated, compressed or no tar file.
    """
    try:
        status = tar.stat()
        numbers = (VERSION, status.st_size, status.st_mtime_ns, zlib.crc32(kind.encode()))
        stamp = np.array(numbers, np.int64)
        if (stored := _load(index_path(tar), stamp)) is not None:
            return stored, ""
        with working(f"indexing {printable(tar)}"), open_regular(tar, sys.maxsize) as file:
            arrays = make(file)
    except (tarfile.TarError, OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"tar file {tar} cannot be read: {reason}") from error
    path = index_path(tar)
    try:
        named: dict[str, Any] = {"stamp": stamp, **arrays}
        write_atomically(path, lambda file: np.savez(file, **named))
    except OSError as error:
        reason = error.strerror or str(error)
        return arrays, f"{printable(path)} cannot be stored ({reason}): each start makes it again"
    return arrays, ""


def _load(path: Path, stamp: np.ndarray) -> dict[str, np.ndarray] | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            if np.array_equal(file["stamp"], stamp):
                return {name: file[name] for name in file.files if name != "stamp"}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        pass  # missing or damaged
    return None


def tar_members(file: IO[bytes], *, nested: bool = False) -> Iterator[tuple[str, int, int]]:
    """Yield name, offset and size of each regular file in a tar.

    Raises:
        tarfile.TarError: The tar ends too early, is compressed or no tar file.
    """
    head = file.read(2)
    file.seek(0)
    if head in COMPRESSED:
        raise tarfile.ReadError("it is compressed, which leaves no random access: decompress it")
    with tarfile.open(fileobj=file, mode="r:") as tar:
        while (member := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]  # it grows by each member
            if not member.isreg():
                continue
            if not nested:
                yield member.name, member.offset_data, member.size
                continue
            inner = tar.extractfile(member)
            assert inner is not None
            folder = os.path.splitext(member.name)[0]
            try:
                for name, offset, size in tar_members(inner):
                    yield f"{folder}/{name}", member.offset_data + offset, size
            except tarfile.TarError as error:
                raise tarfile.ReadError(f"{member.name} in it: {error}") from error
        # Python takes the end of the file, or a damaged header, for the end of the tar.
        file.seek(tar.offset)
        if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("it is truncated or damaged: its end mark is missing")
