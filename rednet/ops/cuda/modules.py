"""Compiles and loads kernels by CuPy, once per device, and keeps them."""

import os
import threading
from functools import lru_cache
from typing import Any

import torch

from rednet.ops.cuda.plan import Kernel
from rednet.ops.cuda.source import source

_LOG_LINES = 10
_loaded: dict[tuple[Kernel, int], Any] = {}
_lock = threading.RLock()


def function(kernel: Kernel) -> Any:
    """Return a kernel's function, loaded on the current device.

    The first call for a device compiles the kernel or finds it in CuPy's cache on disk.

    Returns:
        A `cupy.RawKernel`, to be called with grid, block, arguments and `stream=`.

    Raises:
        RuntimeError: It cannot be compiled or loaded, or a CUDA graph is being captured.
    """
    key = kernel, torch.cuda.current_device()
    return _loaded.get(key) or _load(key)


def _load(key: tuple[Kernel, int]) -> Any:
    refuse_capture()
    with _lock:
        if key not in _loaded:
            kernel = key[0]
            _loaded[key] = make(kernel.operator, source(), kernel.options)
        return _loaded[key]


def refuse_capture() -> None:
    """Raise RuntimeError if a CUDA graph is being captured, which loading would invalidate."""
    if torch.cuda.is_current_stream_capturing():
        raise RuntimeError(
            "an involution of this kind has not run on this device yet: run the network once "
            "before capturing it in a CUDA graph, with the same sizes, dtypes and layouts"
        )


def make(name: str, code: str, options: tuple[str, ...]) -> Any:
    """Compile a kernel of a source for the current device and load it."""
    import cupy

    module = cupy.RawModule(code=code, options=options, backend="nvrtc")
    try:
        with _lock:
            # This also loads: a driver that loads lazily does so in cuModuleGetFunction.
            return module.get_function(name)
    except cupy.cuda.compiler.CompileException as error:
        log = "\n".join(str(error).strip().splitlines()[:_LOG_LINES])
        raise RuntimeError(
            f"the CUDA kernel {name} does not compile with {' '.join(options)}; "
            f"please report this, with the output of CuPy {cupy.__version__}:\n{log}"
        ) from error
    except OSError as error:
        raise RuntimeError(
            f"CuPy cannot store the compiled kernel {name}; set CUPY_CACHE_DIR to a writable "
            f"folder, or CUPY_CACHE_IN_MEMORY=1: {error}"
        ) from error


class _Handle:
    """A stream in the `__cuda_stream__` protocol, by which libraries share streams."""

    def __init__(self, handle: int) -> None:
        self.handle = handle

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.handle


@lru_cache(maxsize=1024)
def stream(handle: int) -> Any:
    """Return CuPy's object for a stream of torch, which CuPy does not own."""
    import cupy

    if hasattr(cupy.cuda.Stream, "from_external"):
        return cupy.cuda.Stream.from_external(_Handle(handle))
    return cupy.cuda.ExternalStream(handle)  # CuPy 13; deprecated in 14


def _renew_lock() -> None:
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    # In a child forked while another thread compiles, the lock would never be released. The child
    # would hang instead of getting torch's error that CUDA does not survive a fork.
    os.register_at_fork(after_in_child=_renew_lock)
