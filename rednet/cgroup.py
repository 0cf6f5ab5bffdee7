"""Limits of this process's control group: those of a container, or of a job on a cluster."""

from collections.abc import Iterator
from pathlib import Path

MOUNT = Path("/sys/fs/cgroup")
GROUPS = Path("/proc/self/cgroup")
UNLIMITED = 2**60
"""Memory from which on a number stands for no limit."""


def core_limit(mount: Path = MOUNT, groups: Path = GROUPS) -> float | None:
    """Return how many cores the group may keep busy on average, None if there is no limit."""
    limits = []
    for folder in _folders(mount, groups):
        quota_and_period = _read(folder / "cpu.max") or [
            *_read(folder / "cpu.cfs_quota_us"),
            *_read(folder / "cpu.cfs_period_us"),
        ]
        if len(quota_and_period) == 2 and all(map(str.isdigit, quota_and_period)):
            quota, period = map(int, quota_and_period)  # the quota may be "max" or -1: no limit
            limits.append(quota / period)
    return min(limits, default=None)


def memory_limit(mount: Path = MOUNT, groups: Path = GROUPS) -> int | None:
    """Return how many bytes of memory the group may use, None if there is no limit."""
    limits = [
        int(text)
        for folder in _folders(mount, groups)
        for name in ("memory.max", "memory.limit_in_bytes")
        for text in _read(folder / name)
        if text.isdigit() and int(text) < UNLIMITED
    ]
    return min(limits, default=None)


def memory_left(mount: Path = MOUNT, groups: Path = GROUPS) -> int | None:
    """Return how many bytes the group may use in addition, None if there is no limit.

    Pages of files that the kernel can drop do not count as used.
    """
    left = []
    for folder in _folders(mount, groups):
        limit = _number(folder, "memory.max", "memory.limit_in_bytes")
        used = _number(folder, "memory.current", "memory.usage_in_bytes")
        if limit is None or limit >= UNLIMITED or used is None:
            continue
        words = _read(folder / "memory.stat")
        pairs = dict(zip(words[::2], words[1::2], strict=False))
        files = pairs.get("total_inactive_file", pairs.get("inactive_file", "0"))
        left.append(max(0, limit - max(0, used - int(files))))
    return min(left, default=None)


def _number(folder: Path, *names: str) -> int | None:
    """Return the number in the first of some files that has one."""
    texts = (text for name in names for text in _read(folder / name)[:1])
    return next((int(text) for text in texts if text.isdigit()), None)


def _folders(mount: Path, groups: Path) -> Iterator[Path]:
    """Yield the folders of the group and of those around it, in versions 1 and 2."""
    try:
        lines = groups.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        top = mount / controllers  # version 2 has no controllers here
        folder = top / path.lstrip("/")
        # In a container, the path may be the one outside of it.
        yield from (each for each in (folder, *folder.parents) if each.is_relative_to(top))


def _read(path: Path) -> list[str]:
    """Return the words of a file; none if it cannot be read."""
    try:
        return path.read_text().split()
    except (OSError, ValueError):
        return []
