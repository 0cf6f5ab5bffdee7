"""Compiles a C++ source into a shared library, once per machine, and loads it.

A library is cached under a name made of everything that decides what is in it. Nothing is loaded
that another user could have written, and nothing that was not written to its end: a cached file
ends in the digest of what precedes it. Where the cache cannot be used, the library lives in a
private folder until it is loaded.
"""

import contextlib
import ctypes
import hashlib
import os
import platform
import re
import shlex
import shutil
import stat
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

COMPILERS = ("c++", "g++", "clang++")
FLAGS = ("-std=c++17", "-O3", "-fopenmp", "-fPIC", "-shared")
NATIVE_FLAGS = ("-march=native", "-mcpu=native")
TIMEOUT_S = 300

_CPU_KEYS = {
    *("vendor_id", "cpu family", "model", "model name", "flags"),
    *("CPU implementer", "CPU architecture", "CPU variant", "CPU part", "Features"),
    *("cpu", "isa", "uarch"),
}
_DIGEST = hashlib.sha256
_DIGEST_SIZE = _DIGEST().digest_size


class BuildError(RuntimeError):
    """A library cannot be made on this machine; the message says why and what to do."""


def load(source: Path, flags: Sequence[str] = ()) -> ctypes.CDLL:
    """The library of a C++ source, from the cache or newly compiled.

    Torch has to be imported before, so that its OpenMP runtime is the one that is used.

    Args:
        source: The C++ file.
        flags: What the compiler gets beside `FLAGS`.

    Raises:
        BuildError: There is no compiler, it fails, or what it makes cannot be loaded.
    """
    if os.name != "posix":
        raise BuildError("only Linux and macOS are supported: use WSL on Windows")
    compiler = _compiler()
    flags = (*FLAGS, *_openmp_flags(), *flags)
    name = _library_name(source, compiler, flags)
    folder = _cache_folder()
    if folder is None:
        return _build(source, compiler, flags, None)
    target = folder / name
    cached = _load_cached(target)
    if cached is None:
        with _turn(folder):
            cached = _load_cached(target) or _build(source, compiler, flags, target)
    return cached


def _build(
    source: Path, compiler: list[str], flags: Sequence[str], target: Path | None
) -> ctypes.CDLL:
    """Compiles in a private folder, puts the result at `target` where that can be, and loads."""
    try:
        with tempfile.TemporaryDirectory(prefix="rednet-", ignore_cleanup_errors=True) as private:
            built = Path(private, "library.so")
            _compile(source, compiler, flags, built)
            if target is not None:
                _publish(built, target)
            return (target and _load_cached(target)) or _load_private(built)
    except OSError as error:
        raise BuildError(f"the compiled library cannot be stored or loaded: {error}") from error


@contextlib.contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """Keeps other processes from compiling for a folder; where that cannot be, all compile."""
    deadline = time.monotonic() + TIMEOUT_S
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            handle = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, handle)
            while not _is_locked(handle) and time.monotonic() < deadline:
                time.sleep(0.05)
        yield


def _is_locked(handle: int) -> bool:
    """Tries to lock what is open under a handle, until that is closed or the process ends."""
    import fcntl  # Windows has none, and the import of rednet must not fail there.

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _load_private(built: Path) -> ctypes.CDLL:
    """Loads a library that could not be cached, which whoever chose the cache has to know."""
    if chosen := os.environ.get("REDNET_CACHE"):
        warnings.warn(
            f"REDNET_CACHE={chosen} cannot keep the compiled kernels, so that every process "
            "compiles them: it must be writable by you and by nobody else",
            RuntimeWarning,
            stacklevel=2,
        )
    return ctypes.CDLL(str(built))


def _compiler() -> list[str]:
    """The command of the C++ compiler: that of $CXX, else the first of `COMPILERS` on the path."""
    try:
        chosen = shlex.split(os.environ.get("CXX", ""))
    except ValueError as error:
        raise BuildError(f"CXX={os.environ['CXX']} is not a command: {error}") from error
    for command in [chosen] if chosen else [[name] for name in COMPILERS]:
        path = shutil.which(command[0])
        if path is not None:
            return [path, *command[1:]]
    if chosen:
        raise BuildError(f"there is no compiler {chosen[0]!r}: set CXX to one, or unset it")
    raise BuildError("no C++ compiler is found: install g++, or set CXX to one")


def _compile(source: Path, compiler: list[str], flags: Sequence[str], target: Path) -> None:
    """Compiles for the CPU at hand, by whichever of `NATIVE_FLAGS` the compiler knows."""
    for native in NATIVE_FLAGS:
        result = _run([*compiler, native, str(source), *flags, "-o", str(target)])
        if result.returncode == 0:
            return
        if native.partition("=")[0] not in result.stderr:
            break
    lines = result.stderr.strip().splitlines()[:10]
    failure = f"{shlex.join(compiler)} failed with code {result.returncode}"
    raise BuildError("\n".join([f"{failure}; mend it or set CXX to another compiler:", *lines]))


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=TIMEOUT_S,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"the compiler cannot run, set CXX to another: {error}") from error


def _openmp_flags() -> tuple[str, ...]:
    """Binds to the OpenMP runtime of torch where it was renamed, so that no second one is loaded.

    A `libgomp.so.1` that is loaded already is shared by its name and needs nothing.
    """
    for path in _mapped_files():
        if path.name.startswith("libgomp") and path.name != "libgomp.so.1":
            return ("-Wl,--as-needed", str(path))
    return ()


def _mapped_files() -> Iterator[Path]:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/maps").read_text().splitlines():
            fields = line.split(maxsplit=5)
            if len(fields) == 6:
                yield Path(fields[5])


def _library_name(source: Path, compiler: list[str], flags: Sequence[str]) -> str:
    version = _run([*compiler, "--version"]).stdout
    command = [os.path.realpath(compiler[0]), *compiler[1:], *NATIVE_FLAGS, *flags]
    parts = [*_texts(source), version, *command, *_cpu()]
    return f"{source.stem}-{_DIGEST(repr(parts).encode()).hexdigest()[:32]}.so"


def _texts(source: Path) -> Iterator[str]:
    """The text of a source and of the files beside it that it includes."""
    try:
        text = source.read_text(encoding="utf-8")
    except OSError as error:
        raise BuildError(f"the source cannot be read, install rednet anew: {error}") from error
    yield text
    for name in re.findall(r'^\s*#\s*include\s*"(.+)"', text, re.MULTILINE):
        yield from _texts(source.parent / name)


def _cpu() -> list[str]:
    """What tells one kind of CPU from another; beyond Linux, one machine from another."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return list(platform.uname())
    known = {line for line in lines if line.partition(":")[0].strip() in _CPU_KEYS}
    return [platform.machine(), *sorted(known)]


def _cache_folder() -> Path | None:
    """The folder of cached libraries, made if need be; None where it cannot be made or trusted."""
    try:
        folder = _cache_path().resolve()
        for missing in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
            missing.mkdir(mode=0o700, exist_ok=True)
        return folder if _is_private_folder(folder) else None
    except (OSError, RuntimeError):
        return None


def _cache_path() -> Path:
    if chosen := os.environ.get("REDNET_CACHE"):
        return Path(chosen).expanduser()
    home = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if os.path.isabs(home) else Path.home() / ".cache") / "rednet"


def _is_private_folder(folder: Path) -> bool:
    """Whether nobody but us and root can put files into a folder, nor put it elsewhere."""
    if not stat.S_ISDIR(folder.stat().st_mode) or not _is_ours(folder.stat()):
        return False
    modes = [parent.stat().st_mode for parent in folder.parents]
    return all(mode & stat.S_ISVTX or not mode & stat.S_IWOTH for mode in modes)


def _is_ours(status: os.stat_result) -> bool:
    """Whether nobody but us and root could have written what has this status."""
    writable = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return status.st_uid in (os.geteuid(), 0) and not writable


def _load_cached(path: Path) -> ctypes.CDLL | None:
    """A cached library; None where it is missing, not ours, incomplete, or does not load."""
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or not _is_ours(status):
            return None
        content = path.read_bytes()
        body, digest = content[:-_DIGEST_SIZE], content[-_DIGEST_SIZE:]
        return ctypes.CDLL(str(path)) if _DIGEST(body).digest() == digest else None
    except OSError:
        return None


def _publish(built: Path, target: Path) -> None:
    """Puts a library into the cache, whole or not at all; a full or read-only cache stays as is."""
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
    """Gives a file its name unless another process was first with a library that loads.

    A link and not a replacement: what another machine has loaded over NFS must stay on the disk.
    """
    try:
        os.link(temporary, target)
    except OSError:
        if _load_cached(target) is None:
            os.replace(temporary, target)
