"""Peak memory: from torch's allocator on a GPU, from the process's resident pages on a CPU."""

import ctypes
import gc
import re
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from benchmarks.turns import Work

STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")
FORGET_PEAK = "5"
M_MMAP_THRESHOLD = -3
RETURNED_AT_ONCE = 65536


def in_own_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Run a function in a fresh process; return None if the system killed it."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(function, *arguments).result()
        except BrokenProcessPool:
            return None


def peak_growth(work: Work, device: torch.device) -> int | None:
    """Return the largest growth of memory in bytes while `work` runs.

    On a CPU this counts the resident pages of the process, so allocations of every library are
    included. Call it in a fresh process, after `return_freed_memory` and a first run of the same
    work. The result is None on systems other than Linux.
    """
    gc.collect()
    if device.type == "cuda":
        return _peak_growth_on_gpu(work, device)
    if not CLEAR_REFS.exists():
        return None
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
    CLEAR_REFS.write_text(FORGET_PEAK)
    before = _resident("VmRSS")
    work()
    return _resident("VmHWM") - before


def return_freed_memory() -> None:
    """Make the C library return freed blocks to the system at once.

    Otherwise the resident pages would include memory that is no longer in use.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_MMAP_THRESHOLD, RETURNED_AT_ONCE)


def _resident(kind: str) -> int:
    found = re.search(rf"^{kind}:\s+(\d+) kB", STATUS.read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def _peak_growth_on_gpu(work: Work, device: torch.device) -> int:
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    work()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before
