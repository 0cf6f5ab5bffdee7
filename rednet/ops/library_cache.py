"""The cache of compiled libraries.

Only complete libraries are loaded, and only those that no other user could have written: the folder
must be private, and a cached file ends with the digest of its content.
"""

import contextlib
import ctypes
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import filelock

LOCK = ".lock"
LOCK_TIMEOUT_S = 300

_DIGEST = hashlib.sha256
_DIGEST_SIZE = _DIGEST().digest_size


def cache_folder() -> Path | None:
    """Return the cache's folder, created if necessary; None if it cannot be created or trusted."""
    try:
        folder = _cache_path().resolve()
        for missing in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
            missing.mkdir(mode=0o700, exist_ok=True)
        return folder if _is_private_folder(folder) else None
    except (OSError, RuntimeError):
        return None


def _cache_path() -> Path:
    if folder := os.environ.get("REDNET_CACHE"):
        return Path(folder).expanduser()
    home = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if os.path.isabs(home) else Path.home() / ".cache") / "rednet"


def _is_private_folder(folder: Path) -> bool:
    """Return whether only we and root can write into a folder, or replace it."""
    if not stat.S_ISDIR(folder.stat().st_mode) or not _is_ours(folder.stat()):
        return False
    modes = [parent.stat().st_mode for parent in folder.parents]
    # In a sticky folder such as /tmp, others cannot rename what is ours.
    return all(mode & stat.S_ISVTX or not mode & stat.S_IWOTH for mode in modes)


def _is_ours(status: os.stat_result) -> bool:
    """Return whether only we and root can have written the file or folder of this status."""
    writable = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return status.st_uid in (os.geteuid(), 0) and not writable


@contextlib.contextmanager
def lock_cache(folder: Path) -> Iterator[None]:
    """Keep other processes from compiling for a folder at the same time.

    The lock only saves work. Without it, because the folder is read-only, its file system has no
    locks, or another process holds it for too long, every process compiles.
    """
    # The kernel releases the lock of a process that dies. A soft lock, a file that exists while it
    # is held, would outlive that process.
    lock = filelock.FileLock(
        folder / LOCK, timeout=LOCK_TIMEOUT_S, mode=0o600, fallback_to_soft=False
    )
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # filelock.Timeout is one too
            stack.enter_context(lock)
        yield


def load_cached(path: Path) -> ctypes.CDLL | None:
    """Load a cached library; return None if it is missing, not ours, incomplete or not loadable."""
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or not _is_ours(status):
            return None
        content = path.read_bytes()
        body, digest = content[:-_DIGEST_SIZE], content[-_DIGEST_SIZE:]
        return ctypes.CDLL(str(path)) if _DIGEST(body).digest() == digest else None
    except OSError:
        return None


def publish(built: Path, target: Path) -> None:
    """Put a library into the cache, completely or, if that is full or read-only, not at all."""
    content = built.read_bytes()
    with contextlib.suppress(OSError):
        handle, temporary = tempfile.mkstemp(prefix="unfinished-", dir=target.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content + _DIGEST(content).digest())
            _put(Path(temporary), target)
        finally:
            os.unlink(temporary)


def _put(temporary: Path, target: Path) -> None:
    """Give a file its final name, unless another process has published a library that loads."""
    try:
        # A link, not a replacement: over NFS, the file that another machine has loaded must remain.
        os.link(temporary, target)
    except OSError:
        if load_cached(target) is None:
            os.replace(temporary, target)
