"""The folder of a run: its name, made and tried, and the run that it may already hold."""

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rednet.config import Config
from rednet.errors import InputError
from rednet.runtime import Runtime
from rednet.weights import Checkpoint, read_checkpoint

FULL_OR_BROKEN = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


@contextmanager
def run_folder(name: str | None, label: str, runtime: Runtime) -> Iterator[Path]:
    """The run's folder, made and tried, and taken away again if nothing came into it.

    Args:
        name: The user's for it, or None.
        label: What the folder is called then, with the time.
        runtime: The first process names the folder for all.

    Raises:
        InputError: It cannot be written, at first or later.
    """
    if name is None:
        name = f"runs/{label}-{time.strftime('%Y%m%d-%H%M%S')}"
        name = runtime.from_primary(_unused(name))
    folder = Path(name)
    made = [place for place in (folder, *folder.parents) if not os.path.exists(place)]
    _make_writable(folder, runtime.rank)
    try:
        yield folder
    except OSError as error:
        if error.errno not in FULL_OR_BROKEN:
            raise
        raise InputError(f"output_dir={folder}: cannot be written: {error.strerror}") from error
    finally:
        for place in made if runtime.is_primary else []:
            with suppress(OSError):  # it is not empty
                place.rmdir()


def _unused(name: str) -> str:
    """The name itself or, where it is taken, with a number behind it."""
    number, free = 1, name
    while os.path.exists(free):
        number += 1
        free = f"{name}-{number}"
    return free


def _make_writable(folder: Path, rank: int) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trial = folder / f".writable-{rank}"
        trial.touch()
        trial.unlink()
    except OSError as error:
        raise InputError(f"output_dir={folder}: cannot be written: {error.strerror}") from error


def find_resumption(config: Config, folder: Path) -> Checkpoint | None:
    """The checkpoint to go on from; InputError where going on or starting anew would lose one."""
    last = folder / "checkpoints" / "last.pt"
    path = last
    if config.resume not in ("auto", "never"):
        path = Path(config.resume)
        path = path / "checkpoints" / "last.pt" if path.is_dir() else path
    elif not last.exists():
        return None
    is_its_own = path.resolve().parent == last.resolve().parent
    if config.resume == "never" or (last.exists() and not is_its_own):
        raise InputError(
            f"output_dir={folder} already holds a run: choose another folder, or go on with it "
            "by resume=auto"
        )
    return read_checkpoint(path, key="resume")
