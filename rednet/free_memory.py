"""How much memory this process uses, and how much more it may take without being killed."""

import os
import re
from contextlib import suppress
from pathlib import Path

from rednet.cgroup import memory_left

STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")
MEMORY_INFO = Path("/proc/meminfo")
FORGET_PEAK = "5"


def free_bytes(info: Path = MEMORY_INFO) -> int | None:
    """Return the bytes that programs can still get: of the machine, and of the control group.

    None where the system does not tell.
    """
    amounts = [memory_left()]
    with suppress(OSError):
        found = re.search(r"^MemAvailable:\s+(\d+) kB", info.read_text(), re.MULTILINE)
        amounts.append(None if found is None else int(found[1]) * 1024)
    return min((amount for amount in amounts if amount is not None), default=None)


def resident_bytes() -> int | None:
    """Return the bytes of this process that are in memory, None where the system does not tell."""
    return _read("VmRSS")


def peak_bytes() -> int | None:
    """Return the most bytes of this process that were in memory since `forget_peak`."""
    return _read("VmHWM")


def forget_peak() -> None:
    """Let `peak_bytes` start anew; where that is not allowed, it is that of the whole process."""
    with suppress(OSError):
        CLEAR_REFS.write_text(FORGET_PEAK)


def processes_here() -> int:
    """Return how many processes `torchrun` started on this machine."""
    number = os.environ.get("LOCAL_WORLD_SIZE", "1")
    return max(1, int(number)) if number.isdigit() else 1


def _read(kind: str) -> int | None:
    with suppress(OSError):
        found = re.search(rf"^{kind}:\s+(\d+) kB", STATUS.read_text(), re.MULTILINE)
        return None if found is None else int(found[1]) * 1024
    return None
