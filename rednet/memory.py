"""Errors for want of memory: what they are, and what to do."""

import errno
import re
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
"""Where batches of data loading workers lie."""

_PHRASES = (
    "out of memory",  # CUDA, Pillow
    "can't allocate memory",  # torch on the CPU
    "cannot allocate memory",  # the system
    "bad_alloc",
    "alloc_failed",  # cuBLAS, cuDNN
)
_OF_SHARED_MEMORY = ("unable to allocate shared memory", str(SHARED_MEMORY))
_AMOUNT = re.compile(r"tried to allocate (\S+ \w+)|unable to allocate (\S+ \w+)", re.IGNORECASE)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether no memory is left: on the device, in the system, or to share with workers."""
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    text = str(error).lower()
    phrases = (*_PHRASES, *_OF_SHARED_MEMORY)
    is_kind = isinstance(error, RuntimeError | OSError)
    return is_kind and any(phrase in text for phrase in phrases)


def explain(error: BaseException, batch_size: int | None = None, num_workers: int = 0) -> str:
    """Return one line about an error for want of memory, with advice.

    Args:
        error: The error.
        batch_size: Images of a batch, if there are batches.
        num_workers: Workers that load them.
    """
    text = str(error)
    is_shared = any(phrase in text.lower() for phrase in _OF_SHARED_MEMORY)
    place = f"{SHARED_MEMORY} is full" if is_shared else "out of memory"
    if "cuda" in text.lower():
        place = "the GPU is out of memory"
    amount = _AMOUNT.search(text)
    asked = f" ({amount[1] or amount[2]} more were needed)" if amount else ""
    return f"{place}{asked}: {_advise(batch_size, num_workers)}"


def _advise(batch_size: int | None, num_workers: int) -> str:
    """Return what takes less memory."""
    if batch_size is None:
        return "end other programs, or take a machine with more"
    ways = []
    if batch_size > 1:
        ways.append(f"data.batch_size={batch_size // 2} instead of {batch_size} takes about half")
    if num_workers > 1:
        ways.append(f"data.num_workers={num_workers // 2} takes less, too")
    return ", ".join(ways) or "a smaller data.image_size or network takes less"


def count_oom_kills() -> int:
    """Return how many processes the kernel has killed for want of memory since the system began."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
