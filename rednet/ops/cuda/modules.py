"""The kernels as CuPy compiles and loads them: once per device, and the caches that keep them."""

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
    """A kernel, ready for launches on the current device.

    The first call for a device compiles, or finds in CuPy's cache on disk, and loads.

    Returns:
        A `cupy.RawKernel`: called with grid, block, arguments and `stream=`.

    Raises:
        RuntimeError: It does not compile or load, or a CUDA graph is being captured meanwhile.
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
    """Raises RuntimeError while a CUDA graph is captured: loading would spoil it."""
    if torch.cuda.is_current_stream_capturing():
        raise RuntimeError(
            "an involution of this kind has not run on this device yet: run the network once "
            "before capturing it in a CUDA graph, with the same sizes, dtypes and layouts"
        )


def make(name: str, code: str, options: tuple[str, ...]) -> Any:
    """Compiles a kernel of a source for the current device and loads it."""
    import cupy

    module = cupy.RawModule(code=code, options=options, backend="nvrtc")
    try:
        with _lock:
            # Loads too: a lazily loading driver puts off no further than cuModuleGetFunction.
            return module.get_function(name)
    except cupy.cuda.compiler.CompileException as error:
        log = "\n".join(str(error).strip().splitlines()[:_LOG_LINES])
        raise RuntimeError(
            f"the CUDA kernel {name} does not compile with {' '.join(options)}; "
            f"please report this, with the output of CuPy {cupy.__version__}:\n{log}"
        ) from error
    except OSError as error:
        raise RuntimeError(
            f"CuPy cannot keep the compiled kernel {name}; set CUPY_CACHE_DIR to a folder that "
            f"can be written, or CUPY_CACHE_IN_MEMORY=1: {error}"
        ) from error


class _Handle:
    """A stream by its handle, in the protocol by which libraries lend each other streams."""

    def __init__(self, handle: int) -> None:
        self.handle = handle

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.handle


@lru_cache(maxsize=1024)
def stream(handle: int) -> Any:
    """CuPy's object for a stream of torch's; CuPy does not own the stream."""
    import cupy

    if hasattr(cupy.cuda.Stream, "from_external"):
        return cupy.cuda.Stream.from_external(_Handle(handle))
    return cupy.cuda.ExternalStream(handle)  # Of CuPy 13; deprecated in 14.


def _renew_lock() -> None:
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    # A child forked while another thread compiles would wait for it instead of hearing from torch
    # that CUDA does not survive a fork.
    os.register_at_fork(after_in_child=_renew_lock)
