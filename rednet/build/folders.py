"""The folder of a run: made, checked, and removed if nothing was written to it."""

import errno
import itertools
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rednet.best_effort import BestEffort
from rednet.config import Config, to_yaml
from rednet.errors import InputError
from rednet.files import write_text_atomically
from rednet.runtime import Runtime
from rednet.wording import printable

FULL_OR_BROKEN = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO),
    getattr(errno, "ESTALE", errno.EIO),  # not on Windows
)


@contextmanager
def run_folder(
    name: str | None, label: str, runtime: Runtime, parent: str = "runs"
) -> Iterator[Path]:
    """Make the run's folder and check that it is writable; remove it at the end if it is empty.

    Only the primary process touches the folder. Its errors are raised on all processes.

    Args:
        name: Path of the folder given by the user, if any.
        label: Beginning of the default name, which ends in the time. A folder of that name is
            always a new one, even if several runs start at the same time.
        runtime: Processes of the run.
        parent: Where a folder of the default name lies.

    Raises:
        InputError: The folder cannot be written to, at the beginning or later.
    """
    folder, created = runtime.on_primary(lambda: _make_folder(name, f"{parent}/{label}"))
    try:
        yield folder
    except OSError as error:
        if error.errno not in FULL_OR_BROKEN and not _is_inside(error.filename, folder):
            raise
        raise _not_writable(folder, error) from error
    finally:
        for path in created if runtime.is_primary else []:
            with suppress(OSError):  # not empty
                path.rmdir()


def require_space(folder: Path, checkpoint_bytes: int) -> None:
    """Check that two checkpoints fit on the disk: an old one is deleted only after the new one.

    Raises:
        InputError: There is too little space.
    """
    needed, usage = 2 * checkpoint_bytes, shutil.disk_usage(folder)
    if usage.free < needed and usage.total > 0:  # some network file systems report 0
        raise InputError(
            f"output_dir={printable(folder)}: two checkpoints need {_size(needed)}, "
            f"but only {_size(usage.free)} are free"
        )


def write_config(folder: Path, config: Config, *, finished: bool = False) -> None:
    """Write the configuration of a run, if possible; that of a finished run stays as it is."""
    path = folder / "config.yaml"
    with BestEffort("checkpoints hold it too").write(str(path)):
        if not (finished and path.exists()):
            write_text_atomically(path, to_yaml(config))


def _make_folder(name: str | None, label: str) -> tuple[Path, list[Path]]:
    """Return a writable folder, and which folders were created for it, innermost first."""
    folder = Path(f"{label}-{time.strftime('%Y%m%d-%H%M%S')}" if name is None else name)
    created = [path for path in (folder, *folder.parents) if not os.path.exists(path)]
    try:
        if name is None:
            folder = _make_new(folder)
            created = [folder, *(path for path in created if path in folder.parents)]
        else:
            folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".writable-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise _not_writable(folder, error) from error
    return folder, created


def _make_new(folder: Path) -> Path:
    """Create a folder that did not exist, with a number appended to its name if it is taken."""
    for number in itertools.count(1):
        new = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        with suppress(FileExistsError):
            new.mkdir(parents=True)
            break
    return new


def _is_inside(name: object, folder: Path) -> bool:
    """Return whether an error is about a file of a folder."""
    return isinstance(name, str | bytes) and Path(os.fsdecode(name)).is_relative_to(folder)


def _not_writable(folder: Path, error: OSError) -> InputError:
    return InputError(f"output_dir={printable(folder)}: cannot be written: {error.strerror}")


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.0f} MB"
