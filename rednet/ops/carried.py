"""Libraries that are compiled on one machine and carried to others that have no compiler.

They lie in the cache under names that do not depend on the compiler. There is one for each level of
instructions, and the best that the CPU has is loaded.
"""

import ctypes
import hashlib
import platform
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from rednet.ops import compiler
from rednet.ops.library_cache import load_cached, open_cache, publish
from rednet.ops.private_folder import PrivateFolder

NATIVE = "native"

# Instructions beyond those of the level before, by the names of /proc/cpuinfo: the levels of the
# x86-64 psABI, https://gitlab.com/x86-psABIs/x86-64-ABI.
_V3 = frozenset(["avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"])
_V4 = _V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
_LEVELS = {
    "x86_64": {"x86-64-v4": _V4, "x86-64-v3": _V3},
    "aarch64": {"armv8-a": frozenset[str]()},
}


def levels() -> tuple[str, ...]:
    """Return the CPUs that a library can be made for: this one, or levels of its architecture."""
    return (NATIVE, *_LEVELS.get(platform.machine(), ()))


def make_carried(source: Path, flags: Sequence[str], level: str, folder: PrivateFolder) -> Path:
    """Compile a source for other machines; return the file.

    Args:
        source: The C++ file.
        flags: Compiler flags, as of `compiler.load`.
        level: One of `levels`.
        folder: Where the library goes.

    Raises:
        BuildError: There is no compiler, it fails, or the folder cannot keep the library.
    """
    targets = compiler.NATIVE_FLAGS if level == NATIVE else (f"-march={level}",)
    name = _name(source, flags, level)
    command, flags = compiler.find_compiler(), compiler.all_flags(flags)
    with compiler.workplace(folder) as private:
        compiler.compile_library(source, command, flags, private.path / compiler.BUILT, targets)
        publish(private, compiler.BUILT, folder, name)
    path = folder.path / name
    if not path.is_file():
        raise compiler.BuildError("the library cannot be written there")
    path.chmod(0o644)  # for the other users of the machine that it is carried to
    return path


def load(source: Path, flags: Sequence[str] = ()) -> ctypes.CDLL:
    """Load the library of a source: compiled here or, where there is no compiler, carried here.

    Raises:
        BuildError: As of `compiler.load`; where there is no compiler, none was carried either.
    """
    try:
        compiler.find_compiler()
    except compiler.BuildError:
        if library := _load_carried(source, flags):
            return library
    return compiler.load(source, flags)


def _load_carried(source: Path, flags: Sequence[str]) -> ctypes.CDLL | None:
    """Load the best library in the cache that this CPU can run; None if there is none."""
    with open_cache() as folder:
        if folder is not None:
            for level in _usable_levels():
                library = load_cached(folder, _name(source, flags, level))
                if library is not None:
                    return library
    return None


def _usable_levels() -> Iterator[str]:
    yield NATIVE  # whose name has this CPU's model
    found = _cpu_flags()
    for level, needed in _LEVELS.get(platform.machine(), {}).items():
        if needed <= found:
            yield level


def _cpu_flags() -> frozenset[str]:
    text = "\n".join(compiler.cpu_model())
    lines = re.findall(r"^flags\s*:(.*)$", text, re.MULTILINE)
    return frozenset(word for line in lines for word in line.split())


def _name(source: Path, flags: Sequence[str], level: str) -> str:
    """Return the name of a library, which has a digest of all that it is made of."""
    cpu = compiler.cpu_model() if level == NATIVE else [platform.machine()]
    parts = [*compiler.read_sources(source), *compiler.FLAGS, *flags, *cpu]
    digest = hashlib.sha256(repr(parts).encode()).hexdigest()[:32]
    return f"{source.stem}-{level}-{digest}.so"
