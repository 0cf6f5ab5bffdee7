"""Check what the system allows: cores, memory, disks, shared memory, open files."""

import math
import os
import shutil
import tempfile
from pathlib import Path

import torch

from rednet.cgroup import core_limit, memory_limit
from rednet.data.limits import FILES, FILES_PER_WORKER, SHARED_BYTES
from rednet.doctor.report import Report
from rednet.machine import count_cores, cpu_model
from rednet.memory import SHARED_MEMORY
from rednet.wording import count

MEMORY_INFO = Path("/proc/meminfo")
FEW_BYTES = 10**9
"""Free memory or disk below which a training of RedNet-50 is likely to fail."""
BUSY = 1.5
"""Programs that want to run, for each core, above which they get in each other's way."""


def check_system(report: Report) -> None:
    """Report cores, memory, free disk, shared memory and open files."""
    report.add("processor", f"{cpu_model()}, {torch.backends.cpu.get_cpu_capability()}")
    for label, check in CHECKS.items():
        with report.checking(label):
            check(report)


def _check_cores(report: Report) -> None:
    cores, limit, threads = count_cores() or 1, core_limit(), torch.get_num_threads()
    usable = cores if limit is None else max(1, min(cores, math.ceil(limit)))
    text = f"{cores} of {os.cpu_count()} for this process"
    if limit is not None:
        text += f", whose control group may use {limit:g}"
    if given := os.environ.get("OMP_NUM_THREADS"):
        text += f"; OMP_NUM_THREADS={given}"
    report.add("cores", f"{text}; torch uses {count(threads, 'thread')}")
    if threads > usable:
        report.problems.append(
            f"torch uses {threads} threads, but {count(usable, 'core')} can be used: "
            f"set OMP_NUM_THREADS={usable}"
        )
    _check_load(report)


def _check_load(report: Report) -> None:
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    report.add("load", f"{load:.1f} programs on {count(cores, 'core')} in the last minute")
    if load > BUSY * cores:
        report.problems.append(
            f"load: {load:.1f} programs share {count(cores, 'core')}: the speeds here are too low, "
            "and several trainings need OMP_NUM_THREADS set to their share of the cores"
        )


def _check_memory(report: Report) -> None:
    total, free = _memory()
    limit = memory_limit()
    text = f"{to_text(free)} of {to_text(total)} free"
    if limit is not None:
        text += f"; the control group may use {to_text(limit)}"
    report.add("memory", text)
    if min(free, limit or free) < FEW_BYTES:
        report.problems.append(
            "memory: less than 1 GB: end other programs, or give the container more "
            "(data.batch_size and data.num_workers take less when small)"
        )


def _memory() -> tuple[int, int]:
    """Return the bytes of memory, and of those that programs can still get."""
    if not MEMORY_INFO.exists():  # macOS
        page, pages = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_PHYS_PAGES")
        return page * pages, page * pages
    lines = (line.split() for line in MEMORY_INFO.read_text().splitlines())
    found = {words[0]: 1024 * int(words[1]) for words in lines if len(words) > 1}
    return found["MemTotal:"], found["MemAvailable:"]


def _check_disks(report: Report) -> None:
    folders = {"this folder": Path.cwd(), "temporary files": Path(tempfile.gettempdir())}
    for label, folder in folders.items():
        free = shutil.disk_usage(folder).free
        text = f"{folder}: {to_text(free)} free"
        if not os.access(folder, os.W_OK):
            text += ", not writable"
        report.add(label, text)
        if free < FEW_BYTES:
            report.problems.append(
                f"{folder}: {to_text(free)} free: delete files, or set output_dir or TMPDIR to "
                "another disk"
            )


def _check_shared_memory(report: Report) -> None:
    if not SHARED_MEMORY.is_dir():
        report.add(str(SHARED_MEMORY), "not there, and not needed on this system")
        return
    usage = shutil.disk_usage(SHARED_MEMORY)
    report.add(str(SHARED_MEMORY), f"{to_text(usage.free)} of {to_text(usage.total)} free")
    if usage.free < SHARED_BYTES:
        report.problems.append(
            f"{SHARED_MEMORY} has {usage.free} bytes left, too few for data loading workers: "
            "enlarge it (docker run --shm-size=64m), or set data.num_workers=0"
        )


def _check_files(report: Report) -> None:
    import resource  # not on Windows

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        report.add("open files", "no limit")
        return
    workers = max(0, (hard - FILES) // FILES_PER_WORKER)
    room = f"room for {count(workers, 'data loading worker')}"
    report.add("open files", f"{soft} now, {hard} at most: {room}")
    if workers < (count_cores() or 1):
        report.problems.append(
            f"open files: the limit of {hard} has {room}: raise it (ulimit -n), or set "
            f"data.num_workers={workers}"
        )


def to_text(num_bytes: int) -> str:
    """Return a size in GB, MB or kB."""
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if num_bytes >= size:
            return f"{num_bytes / size:.1f} {unit}"
    return f"{num_bytes / 1e3:.1f} kB"


CHECKS = {
    "cores": _check_cores,
    "memory": _check_memory,
    "disks": _check_disks,
    "shared memory": _check_shared_memory,
    "open files": _check_files,
}
