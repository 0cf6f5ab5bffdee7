"""The features of any number of images in one `.npz` file."""

import json
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO, cast

import numpy as np

from rednet.files import write_atomically
from rednet.predictions.files import Write
from rednet.predictions.rows import Row

CHUNK = 10_000
"""Paths in memory at a time."""


class _Spool:
    """Features and paths in two temporary files, until their number is known.

    An array in a file starts with its shape.
    """

    def __init__(self, features: BinaryIO, paths: BinaryIO) -> None:
        self.features, self.paths = features, paths
        self.count = self.length = self.longest_path = 0

    def add(self, rows: Sequence[Row]) -> None:
        """Append the features of the rows that have some."""
        for row in rows:
            if row.features is None:
                continue
            self.features.write(row.features.astype("<f4").tobytes())
            self.paths.write(f"{json.dumps(row.path)}\n".encode())
            self.count += 1
            self.length = len(row.features)
            self.longest_path = max(self.longest_path, len(row.path))

    def write(self, file: BinaryIO) -> None:
        """Write both arrays as `numpy.savez` does."""
        for spool in (self.features, self.paths):
            spool.seek(0)
        with zipfile.ZipFile(file, "w") as archive:
            with archive.open("features.npy", "w", force_zip64=True) as member:
                _write_header(member, "<f4", (self.count, self.length))
                shutil.copyfileobj(self.features, member)
            with archive.open("paths.npy", "w", force_zip64=True) as member:
                dtype = f"<U{self.longest_path}"
                _write_header(member, dtype, (self.count,))
                paths = map(json.loads, self.paths)
                while chunk := list(islice(paths, CHUNK)):
                    member.write(np.array(chunk, dtype).tobytes())


@contextmanager
def write_features(path: Path) -> Iterator[Write]:
    """Write `features` (images, features) float32 and `paths` (images,), without a list of them.

    Args:
        path: File to write; it appears when the context ends without an exception, if there are
            features.

    Yields:
        The function that takes rows.
    """
    # Without names, the temporary files vanish with the process.
    with TemporaryFile(dir=path.parent) as features, TemporaryFile(dir=path.parent) as paths:
        spool = _Spool(cast(BinaryIO, features), cast(BinaryIO, paths))
        yield spool.add
        if spool.count:
            write_atomically(path, spool.write)
        else:
            path.unlink(missing_ok=True)


def _write_header(file: object, dtype: str, shape: tuple[int, ...]) -> None:
    header = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)  # type: ignore[arg-type]
