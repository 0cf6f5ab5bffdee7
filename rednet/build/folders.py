"""The folder of a run, and the earlier run that it may hold."""

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rednet.errors import InputError
from rednet.runtime import Runtime

FULL_OR_BROKEN = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


@contextmanager
def run_folder(name: str | None, label: str, runtime: Runtime) -> Iterator[Path]:
    """Make the run's folder and check that it is writable; remove it at the end if it is empty.

    Args:
        name: Path of the folder given by the user, if any.
        label: Beginning of the default name, which ends in the time.
        runtime: Processes of the run; the primary one chooses the name for all.

    Raises:
        InputError: The folder cannot be written to, at the beginning or later.
    """
    if name is None:
        name = f"runs/{label}-{time.strftime('%Y%m%d-%H%M%S')}"
        name = runtime.from_primary(_unused(name))
    folder = Path(name)
    created = [path for path in (folder, *folder.parents) if not os.path.exists(path)]
    _require_writable(folder, runtime.rank)
    try:
        yield folder
    except OSError as error:
        if error.errno not in FULL_OR_BROKEN:
            raise
        raise InputError(f"output_dir={folder}: cannot be written: {error.strerror}") from error
    finally:
        for path in created if runtime.is_primary else []:
            with suppress(OSError):  # not empty
                path.rmdir()


def _unused(name: str) -> str:
    """Return the name, with a number appended if it is taken."""
    number, unused = 1, name
    while os.path.exists(unused):
        number += 1
        unused = f"{name}-{number}"
    return unused


def _require_writable(folder: Path, rank: int) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".writable-{rank}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"output_dir={folder}: cannot be written: {error.strerror}") from error
