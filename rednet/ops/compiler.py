"""Compiles a C++ source into a shared library, once per machine, and loads it.

A library is cached under a name that is a digest of everything that determines its content. If no
cache can be used, the library is compiled into a private folder that is removed once it is loaded.
"""

import contextlib
import ctypes
import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from rednet.ops.library_cache import load_cached, load_open, lock_cache, open_cache, publish
from rednet.ops.private_folder import PrivateFolder, open_private
from rednet.program import working
from rednet.wording import printable

COMPILERS = ("c++", "g++", "clang++")
FLAGS = ("-std=c++17", "-O3", "-fopenmp", "-fPIC", "-shared")
NATIVE_FLAGS = ("-march=native", "-mcpu=native")
TIMEOUT_S = 300
BUILT = "library.so"

CPU_INFO = Path("/proc/cpuinfo")

# The lines of it that tell the instructions of a CPU, by architecture.
_CPU_KEYS = {
    *("vendor_id", "cpu family", "model", "model name", "flags"),
    *("CPU implementer", "CPU architecture", "CPU variant", "CPU part", "Features"),
    *("cpu", "isa", "uarch"),
}


class BuildError(RuntimeError):
    """A library cannot be made on this machine; the message says why and what to do."""


def load(source: Path, flags: Sequence[str] = ()) -> ctypes.CDLL:
    """Load the library of a C++ source from the cache, or compile it.

    Import torch first, so that the library uses torch's OpenMP runtime.

    Args:
        source: The C++ file.
        flags: Compiler flags in addition to `FLAGS`.

    Raises:
        BuildError: There is no compiler, it fails, or its library cannot be loaded.
    """
    if os.name != "posix":
        raise BuildError("only Linux and macOS are supported: use WSL on Windows")
    compiler = find_compiler()
    flags = all_flags(flags)
    name = _library_name(source, compiler, flags)
    with open_cache() as folder:
        if folder is None:
            return _build(source, compiler, flags)
        cached = load_cached(folder, name)
        if cached is None:
            with lock_cache(folder.path):
                # Another process may have compiled it while this one waited.
                cached = load_cached(folder, name) or _build(source, compiler, flags, folder, name)
        return cached


def _build(
    source: Path,
    compiler: list[str],
    flags: Sequence[str],
    folder: PrivateFolder | None = None,
    name: str = "",
) -> ctypes.CDLL:
    """Compile in a private folder, publish the library in the cache if possible, and load it."""
    try:
        with working(f"compiling {source.name} for this CPU"), workplace(folder) as private:
            compile_library(source, compiler, flags, private.path / BUILT)
            os.chmod(private.path / BUILT, 0o700)  # compilers obey the umask
            if folder is not None:
                publish(private, BUILT, folder, name)
                if library := load_cached(folder, name):
                    return library
                _warn_not_kept(folder)
            return load_open(private.open_file(BUILT), private.path / BUILT)
    except OSError as error:
        raise BuildError(f"the compiled library cannot be stored or loaded: {error}") from error


@contextlib.contextmanager
def workplace(cache: PrivateFolder | None) -> Iterator[PrivateFolder]:
    """Make a folder to compile in, which is removed at the end.

    Raises:
        OSError: Neither the folder for temporary files nor the cache can be used.
    """
    try:
        open_private(Path(tempfile.gettempdir()), is_parent=True).close()
        place = None
    except OSError:
        if cache is None:
            raise
        place = cache.path
    made = tempfile.TemporaryDirectory(prefix="rednet-", dir=place, ignore_cleanup_errors=True)
    with made as path:
        private = open_private(Path(path))
        try:
            yield private
        finally:
            private.close()


def _warn_not_kept(folder: PrivateFolder) -> None:
    warnings.warn(
        f"{printable(folder.path)} cannot keep the compiled kernels, so every process compiles "
        "them; REDNET_CACHE names another folder",
        RuntimeWarning,
        stacklevel=2,
    )


def find_compiler() -> list[str]:
    """Return the command of the C++ compiler: $CXX, or the first of `COMPILERS` on the path.

    Raises:
        BuildError: There is none.
    """
    try:
        wanted = shlex.split(os.environ.get("CXX", ""))
    except ValueError as error:
        raise BuildError(f"CXX={os.environ['CXX']} is not a command: {error}") from error
    for command in [wanted] if wanted else [[name] for name in COMPILERS]:
        path = shutil.which(command[0])
        if path is not None:
            return [path, *command[1:]]
    if wanted:
        raise BuildError(f"no compiler {wanted[0]!r} found: set CXX to another one, or unset it")
    raise BuildError("no C++ compiler found: install g++, set CXX, or carry compiled kernels")


def compile_library(
    source: Path,
    compiler: list[str],
    flags: Sequence[str],
    target: Path,
    cpu_flags: Sequence[str] = NATIVE_FLAGS,
) -> None:
    """Compile for a CPU, with the first of some flags that the compiler knows.

    Args:
        source: The C++ file.
        compiler: Command of the compiler.
        flags: Its other flags.
        target: The library to write.
        cpu_flags: Flags that name the CPU, by default this machine's.

    Raises:
        BuildError: The compiler fails; the message has the first lines of its output.
    """
    for native in cpu_flags:
        command = [*compiler, native, str(source), *flags, "-o", str(target)]
        result = run_compiler(command, temporary=target.parent)
        if result.returncode == 0:
            return
        if native.partition("=")[0] not in result.stderr:
            break
    lines = result.stderr.strip().splitlines()[:10]
    failure = f"{shlex.join(compiler)} failed with code {result.returncode}"
    raise BuildError("\n".join([f"{failure}; fix it or set CXX to another compiler:", *lines]))


def run_compiler(
    command: list[str], temporary: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a compiler with English messages.

    Args:
        command: The command line.
        temporary: Folder for its temporary files, by default the system's.

    Raises:
        BuildError: It cannot be started or does not finish.
    """
    try:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=TIMEOUT_S,
            env={**os.environ, "LC_ALL": "C", **({"TMPDIR": str(temporary)} if temporary else {})},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"the compiler cannot run, set CXX to another one: {error}") from error


def all_flags(flags: Sequence[str]) -> tuple[str, ...]:
    """Return the flags that libraries are compiled with, except for the CPU's."""
    return (*FLAGS, *_openmp_flags(), *flags)


def _openmp_flags() -> tuple[str, ...]:
    """Return flags that link torch's OpenMP runtime if its file was renamed.

    A second runtime in one process would start threads of its own. A loaded `libgomp.so.1` is
    shared by its name and needs no flags.
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
    version = run_compiler([*compiler, "--version"]).stdout
    command = [os.path.realpath(compiler[0]), *compiler[1:], *NATIVE_FLAGS, *flags]
    parts = [*read_sources(source), version, *command, *cpu_model()]
    return f"{source.stem}-{hashlib.sha256(repr(parts).encode()).hexdigest()[:32]}.so"


def read_sources(source: Path) -> list[str]:
    """Return the texts of a source and of the files that it includes by a relative path.

    Raises:
        BuildError: One of them cannot be read.
    """
    texts: dict[Path, str] = {}
    _read_sources(source, texts)
    return list(texts.values())


def _read_sources(source: Path, texts: dict[Path, str]) -> None:
    """Add the texts of a source and of the files that it includes by a relative path."""
    if source in texts:
        return
    try:
        text = texts[source] = source.read_text(encoding="utf-8")
    except OSError as error:
        raise BuildError(f"the source cannot be read, reinstall rednet: {error}") from error
    for name in re.findall(r'^\s*#\s*include\s*"(.+)"', text, re.MULTILINE):
        _read_sources(source.parent / name, texts)


def cpu_model() -> list[str]:
    """Return what distinguishes one kind of CPU from another; outside Linux, one machine."""
    try:
        lines = CPU_INFO.read_text().splitlines()
    except OSError:
        return list(platform.uname())
    known = {line for line in lines if line.partition(":")[0].strip() in _CPU_KEYS}
    return [platform.machine(), *sorted(known)]
