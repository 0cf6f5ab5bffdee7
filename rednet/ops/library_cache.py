"""The cache of compiled libraries.

Only complete libraries are loaded, and only those that no other user could have written: the folder
must be private, and a cached file ends with the digest of its content. A file is opened once; what
was checked is what is loaded.
"""

import contextlib
import ctypes
import hashlib
import os
import secrets
import tempfile
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import filelock

from rednet.ops.private_folder import PrivateFolder, SharedError, open_private
from rednet.wording import printable

LOCK = ".lock"
LOCK_TIMEOUT_S = 300
DESCRIPTORS = Path("/proc/self/fd")

_DIGEST = hashlib.sha256
_DIGEST_SIZE = _DIGEST().digest_size


@contextlib.contextmanager
def open_cache() -> Iterator[PrivateFolder | None]:
    """Open the first private folder of `_candidates`; None if there is none.

    A folder that others can write to is passed over with a warning.
    """
    folder, passed_over = find_cache()
    if passed_over:
        _say_once("; ".join(passed_over), None if folder is None else folder.path)
    try:
        yield folder
    finally:
        if folder is not None:
            folder.close()


def find_cache() -> tuple[PrivateFolder | None, list[str]]:
    """Return the first private folder of `_candidates`, open, and why others were passed over."""
    passed_over: list[str] = []
    for path in _candidates():
        try:
            return open_private(path), passed_over
        except (OSError, ValueError) as error:  # ValueError: its name has a null byte
            if isinstance(error, SharedError) or os.environ.get("REDNET_CACHE"):
                passed_over.append(str(error))
    return None, passed_over


def use_private_cache(variable: str, name: str, default: Path | None = None) -> None:
    """Let a library that keeps compiled code in a folder of its own use a private one.

    Args:
        variable: Environment variable that names the library's folder.
        name: Name of the folder below our cache that takes its place if it is not private.
        default: The library's folder where the variable is not set; None for one that it would
            share with others.
    """
    given = os.environ.get(variable)
    path = Path(given) if given else default
    if path is not None:
        try:
            open_private(path).close()
            return
        except (OSError, ValueError):
            pass
    with open_cache() as folder:
        if folder is None:
            return
        instead = folder.path / name
        if given:
            _say_once(f"{variable}={printable(given)} is not private", instead)
        os.environ[variable] = str(instead)


@cache
def _say_once(reason: str, instead: Path | None) -> None:
    """Warn where compiled code is kept instead; of several processes the first one does."""
    if os.environ.get("RANK", "0") != "0":
        return
    where = "nowhere, every process compiles" if instead is None else f"in {printable(instead)}"
    warnings.warn(
        f"{reason}: compiled kernels are kept {where}; REDNET_CACHE names another folder",
        RuntimeWarning,
        stacklevel=2,
    )


def _candidates() -> list[Path]:
    """Return where the cache may be: as the user says, in the home folder, in a temporary one."""
    paths = []
    if folder := os.environ.get("REDNET_CACHE"):
        paths.append(Path(os.path.expanduser(folder)))
    home = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(home) if os.path.isabs(home) else Path(os.path.expanduser("~"), ".cache")
    if base.is_absolute():  # without a home folder, "~" stays as it is
        paths.append(base / "rednet")
    return [*paths, Path(tempfile.gettempdir(), f"rednet-{os.geteuid()}")]


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


def load_cached(folder: PrivateFolder, name: str) -> ctypes.CDLL | None:
    """Load a cached library; return None if it is missing, not ours, incomplete or not loadable."""
    try:
        descriptor = folder.open_file(name)
        content = _read(descriptor)
        body, digest = content[:-_DIGEST_SIZE], content[-_DIGEST_SIZE:]
        if _DIGEST(body).digest() == digest:
            return load_open(descriptor, folder.path / name)
        os.close(descriptor)
    except OSError:
        pass
    return None


def load_open(descriptor: int, path: Path) -> ctypes.CDLL:
    """Load the library that is open, and keep it open.

    The linker takes a second library under a name that it knows for the first one, so that the
    number in /proc must not be given to another file. Where there is no /proc, the path is used:
    all folders above it are private.

    Raises:
        OSError: It cannot be loaded.
    """
    by_number = DESCRIPTORS / str(descriptor)
    try:
        return ctypes.CDLL(str(by_number if by_number.exists() else path))
    except OSError:
        os.close(descriptor)
        raise


def _read(descriptor: int) -> bytes:
    with open(descriptor, "rb", closefd=False) as file:
        return file.read()


def publish(built: PrivateFolder, source: str, folder: PrivateFolder, name: str) -> None:
    """Put a library into the cache, completely or, if that is full or read-only, not at all.

    Args:
        built: Folder of the compiled library.
        source: Its name there.
        folder: The cache.
        name: Its name in the cache.
    """
    descriptor = built.open_file(source)
    try:
        content = _read(descriptor)
    finally:
        os.close(descriptor)
    temporary = f"unfinished-{secrets.token_hex(8)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with contextlib.suppress(OSError):
        handle = os.open(temporary, flags, 0o600, dir_fd=folder.descriptor)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content + _DIGEST(content).digest())
            _put(temporary, folder, name)
        finally:
            os.unlink(temporary, dir_fd=folder.descriptor)


def _put(temporary: str, folder: PrivateFolder, name: str) -> None:
    """Give a file its final name, unless another process has published a library that loads."""
    here = folder.descriptor
    try:
        # A link, not a replacement: over NFS, the file that another machine has loaded must remain.
        os.link(temporary, name, src_dir_fd=here, dst_dir_fd=here)
    except OSError:
        if load_cached(folder, name) is None:
            os.replace(temporary, name, src_dir_fd=here, dst_dir_fd=here)
