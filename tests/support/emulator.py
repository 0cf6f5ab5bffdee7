"""Runs the CUDA kernels on the CPU: their source, compiled by the host's C++ compiler.

What CUDA adds to C++ is in `host/`: `cuda.h` has its keywords, `device.h` replaces the inline
assembly of `kernels/cuda/device.cuh`, and `runner.cpp` runs the threads of a launch in a random
order. Shared memory starts as NaN, an asynchronous copy arrives as late as possible, and what a GPU
rejects or leaves undefined raises an `EmulationError`.
"""

import atexit
import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from rednet.ops import compiler

if TYPE_CHECKING:
    from rednet.ops.cuda.plan import Kernel, Launch

CACHE = "REDNET_TEST_EMULATOR"
"""Names the folder that the processes of a test run share."""

HOST = Path(__file__).with_name("host")
DEVICE = (HOST / "device.h").read_text(encoding="utf-8")

FLAGS = (
    *("-std=c++17", "-O1", "-fPIC", "-shared", "-Wl,-Bsymbolic", "-w", f"-I{HOST}"),
    "-fno-strict-aliasing",  # kernels see bytes as now this type, now that, as in CUDA
)
UNINITIALIZED = ("-ftrivial-auto-var-init=pattern",)  # local variables begin as far-off numbers
SANITIZED = (
    *("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g1"),
    *("-fsanitize-sections=cuda_shared", "-fno-sanitize=null,object-size,vptr"),
    *("--param", "asan-instrumentation-with-call-threshold=0"),
)
RUNNER_FLAGS = ("-std=c++17", "-O2", "-fPIC", "-shared")
START = """
import os, sys
os.environ.pop("LD_PRELOAD", None)
sys.path.insert(0, {folder!r})
import emulator
emulator.sanitized = True
"""

# Whether kernels are compiled with the sanitizers; only in a process of `run_sanitized`.
sanitized = False

_lock = threading.Lock()


class EmulationError(RuntimeError):
    """A launch that a GPU would reject, or whose result CUDA leaves undefined."""


def run(launch: "Launch", text: str | None = None, seed: int = 0) -> None:
    """Run a launch whose tensors are in the CPU's memory.

    Args:
        launch: The launch.
        text: Source of the kernel; None for the project's.
        seed: Seeds the order of blocks and threads.

    Raises:
        EmulationError: The launch fails; the message has the block, the thread and the reason.
    """
    name = launch.kernel.operator
    kernel = _kernel(_text(launch.kernel, text), sanitized)
    message = ctypes.create_string_buffer(1000)
    grid = (ctypes.c_longlong * 3)(*launch.grid)
    problem, size = launch.problem, len(launch.problem)
    order = ctypes.c_ulonglong(seed)
    runner = _runner()
    with _lock:
        done = runner.host_run(
            kernel, grid, launch.kernel.threads, problem, size, order, message, len(message)
        )
    if not done:
        raise EmulationError(f"{name}: {message.value.decode()}")


def shared_bytes(kernel: "Kernel", text: str | None = None) -> int:
    """Return the size of a kernel's shared arrays, aligned to up to 64 bytes on the host."""
    return _runner().host_shared_bytes(_kernel(_text(kernel, text), False))


def build(kernels: Iterable["Kernel"], text: str | None = None, jobs: int | None = None) -> None:
    """Compile kernels in parallel, so that `run` finds them."""
    texts = dict.fromkeys(_text(kernel, text) for kernel in kernels)
    with ThreadPoolExecutor(jobs or os.cpu_count()) as pool:
        list(pool.map(lambda each: _kernel(each, sanitized), texts))


def run_sanitized(code: str, *arguments: str, timeout: float = 900) -> subprocess.CompletedProcess:
    """Run Python code in a process in which the sanitizers check the kernels.

    The process has imported the module `emulator`. If a sanitizer ends it, `stderr` has the report.
    """
    libraries = [_sanitizer("libasan.so"), _sanitizer("libstdc++.so")]
    return subprocess.run(
        [sys.executable, "-c", START.format(folder=str(HOST.parent)) + code, *arguments],
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "LD_PRELOAD": ":".join(map(str, libraries)),
            "ASAN_OPTIONS": "detect_leaks=0:malloc_context_size=1",
            "UBSAN_OPTIONS": "print_stacktrace=1",
        },
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def unavailable_reason() -> str | None:
    """Return why kernels cannot be emulated on this machine, or None if they can."""
    if sys.platform != "linux":
        return "the emulator of CUDA needs the fibers and the linker of Linux"
    try:
        compiler.find_compiler()
    except compiler.BuildError as error:
        return str(error)
    return None


def sanitizers_unavailable_reason() -> str | None:
    """Return why the sanitizers cannot check kernels on this machine, or None if they can."""
    if reason := unavailable_reason():
        return reason
    for name in ("libasan.so", "libubsan.so", "libstdc++.so"):
        if not _sanitizer(name).is_absolute():
            return f"the compiler has no {name}; g++ has it"
    if not flags_if_known(*SANITIZED):
        return "the compiler cannot watch shared memory; g++ can"
    return None


@cache
def flags_if_known(*flags: str) -> tuple[str, ...]:
    """Return the flags, or none if the compiler does not know all of them."""
    command = [
        *compiler.find_compiler(),
        *flags,
        "-Werror",
        "-fsyntax-only",
        "-x",
        "c++",
        os.devnull,
    ]
    return () if compiler.run_compiler(command).returncode else flags


def _text(kernel: "Kernel", text: str | None) -> str:
    """Return the source to compile: CUDA's keywords, the kernel, and its entry point."""
    if text is None:
        from rednet.ops.cuda.source import source

        text = source(DEVICE)
    pattern = rf"__launch_bounds__\(([^(),]+)(?:,[^()]*)?\)\s*{kernel.operator}\s*\("
    bounds = re.search(pattern, text)
    if bounds is None:
        raise EmulationError(f"the source has no __launch_bounds__(...) {kernel.operator}(...)")
    defines = [f"#define {name} {value}" for name, value in kernel.defines]
    entry = f"HOST_KERNEL({kernel.operator}, {bounds[1]})"
    # An anonymous namespace keeps the symbols of libraries that define the same names apart.
    words = ['#include "cuda.h"', *defines, "namespace {", '#line 1 "kernel"']
    return "\n".join([*words, text, "}", entry, ""])


@cache
def _kernel(text: str, sanitized: bool) -> ctypes.c_void_p:
    if sanitized and not hasattr(ctypes.CDLL(None), "__asan_init"):
        raise EmulationError("the sanitizers are only in a process that run_sanitized has started")
    _runner()  # A kernel finds its functions in what is loaded.
    flags = (*FLAGS, *flags_if_known(*UNINITIALIZED), *(SANITIZED if sanitized else ()))
    library = _load(text, flags)
    library.host_kernel.restype = ctypes.c_void_p
    return ctypes.c_void_p(library.host_kernel())


def _runner() -> ctypes.CDLL:
    with _lock:
        return _only_runner()


@cache
def _only_runner() -> ctypes.CDLL:
    text = (HOST / "runner.cpp").read_text(encoding="utf-8")
    library = _load(text, (*RUNNER_FLAGS, f"-I{HOST}"), ctypes.RTLD_GLOBAL)
    library.host_run.restype = ctypes.c_bool
    # kernel, grid, threads, problem, its size, seed, message, its size
    library.host_run.argtypes = [
        *(ctypes.c_void_p, ctypes.POINTER(ctypes.c_longlong), ctypes.c_longlong),
        *(ctypes.c_char_p, ctypes.c_size_t, ctypes.c_ulonglong),
        *(ctypes.c_char_p, ctypes.c_size_t),
    ]
    library.host_shared_bytes.restype = ctypes.c_size_t
    library.host_shared_bytes.argtypes = [ctypes.c_void_p]
    return library


def _load(text: str, flags: tuple[str, ...], mode: int = ctypes.DEFAULT_MODE) -> ctypes.CDLL:
    """Load the library of a source, compiled if necessary."""
    parts = [text, *_headers(), *flags, *compiler.find_compiler(), *compiler.cpu_model()]
    path = _folder() / f"{hashlib.sha256(repr(parts).encode()).hexdigest()[:32]}.so"
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=_folder()) as private:
            source, built = Path(private, "kernel.cpp"), Path(private, "kernel.so")
            source.write_text(text, encoding="utf-8")
            compiler.compile_library(source, compiler.find_compiler(), flags, built)
            built.rename(path)
    return ctypes.CDLL(str(path), mode)


@cache
def _headers() -> list[str]:
    return [path.read_text(encoding="utf-8") for path in sorted(HOST.glob("*.h"))]


@cache
def _folder() -> Path:
    """Return the folder of the libraries: that of the test run, or one of this process."""
    if shared := os.environ.get(CACHE):
        return Path(shared)
    folder = Path(tempfile.mkdtemp(prefix="rednet-emulator-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def _sanitizer(name: str) -> Path:
    """Return the file of a compiler's library; only its name if there is none."""
    command = [*compiler.find_compiler(), f"-print-file-name={name}"]
    return Path(subprocess.run(command, capture_output=True, text=True).stdout.strip())
