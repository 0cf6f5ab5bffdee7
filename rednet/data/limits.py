"""What the system must allow before workers can be started."""

import os
import shutil

from rednet.errors import InputError
from rednet.memory import SHARED_MEMORY
from rednet.wording import count

FILES = 256
"""Files that a program has open without workers, generously."""
FILES_PER_WORKER = 16
"""Pipes and batches of a worker, for training and validation."""
SHARED_BYTES = 2**20
"""Room for the locks of all workers; batches do not lie there."""


def require_room_for_workers(num_workers: int) -> None:
    """Raise the limit on open files as far as needed, and look at the memory for locks.

    Raises:
        InputError: The workers could not be started.
    """
    if num_workers and os.name == "posix":
        _allow_files(FILES + FILES_PER_WORKER * num_workers, num_workers)
        _require_shared_memory()


def _allow_files(needed: int, num_workers: int) -> None:
    import resource  # not on Windows

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft == unlimited or soft >= needed:
        return
    if hard != unlimited and hard < needed:
        fitting = max(0, (hard - FILES) // FILES_PER_WORKER)
        raise InputError(
            f"{count(num_workers, 'data loading worker')} may need {needed} open files, and the "
            f"limit is {hard}: raise it (ulimit -n), or set data.num_workers={fitting}"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _require_shared_memory() -> None:
    try:
        free = shutil.disk_usage(SHARED_MEMORY).free
    except OSError:  # a system without it has another place for locks
        return
    if free < SHARED_BYTES:
        raise InputError(
            f"{SHARED_MEMORY} has {free} bytes left, too few for the locks of data loading workers:"
            " delete files in it or enlarge it (docker run --shm-size=64m), or set "
            "data.num_workers=0"
        )
