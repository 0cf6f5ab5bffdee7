"""Checks whether CuPy can compile and load kernels for torch's GPU."""

from functools import cache
from pathlib import Path
from types import ModuleType

import torch

from rednet.ops.broken_backend import BrokenBackend
from rednet.ops.cuda import modules
from rednet.ops.library_cache import use_private_cache

OLDEST = 13
"""Oldest supported major version of CuPy."""
EXTRAS = {"12": "cuda12", "13": "cuda13"}
"""This package's extra for each major version of torch's CUDA."""
DEFAULT_CACHE = Path("~/.cupy/kernel_cache").expanduser()
"""Where CuPy keeps compiled kernels unless CUPY_CACHE_DIR says otherwise."""
TRIAL = 'extern "C" __global__ void rednet_trial() {}'


@cache
def unavailable_reason(index: int | None) -> str | None:
    """Return why no kernel can be compiled for a GPU and what to do, or None if it can.

    The first call for a GPU compiles a kernel, which takes a tenth of a second.

    Args:
        index: Number of the GPU; None for the current one.

    Raises:
        RuntimeError: The first call happens while a CUDA graph is being captured.
    """
    if torch.version.hip is not None:
        return "it is for NVIDIA GPUs, and this torch is for AMD GPUs"
    if torch.version.cuda is None or not torch.cuda.is_available():
        return "torch sees no CUDA device"
    try:
        import cupy
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "cupy":
            return BrokenBackend(f"CuPy is missing: {_install()}")
        return BrokenBackend(f"CuPy cannot be imported ({_summary(error)}): {_advice(error)}")
    return _misfit(cupy) or _failure(cupy, index)


def _misfit(cupy: ModuleType) -> BrokenBackend | None:
    """Return what is wrong with CuPy's version, or with the CUDA version that it is built for."""
    version = getattr(cupy, "__version__", None)
    if version is None:
        return BrokenBackend(
            f"only the remains of CuPy are installed: delete {_folder(cupy)} and {_install()}"
        )
    if int(version.partition(".")[0]) < OLDEST:
        return BrokenBackend(f"CuPy {version} is older than {OLDEST}: {_install()}")
    built_for = cupy.cuda.driver.get_build_version() // 1000
    if str(built_for) != _cuda():
        return BrokenBackend(
            f"CuPy {version} is built for CUDA {built_for} and torch for CUDA {_cuda()}: "
            f"remove it (pip uninstall cupy-cuda{built_for}x) and {_install()}"
        )
    return None


def _failure(cupy: ModuleType, index: int | None) -> BrokenBackend | None:
    """Return why CuPy cannot compile a kernel: no NVRTC, no headers, no cache folder, etc."""
    with torch.cuda.device(index):
        modules.refuse_capture()
        use_private_cache("CUPY_CACHE_DIR", "cupy", DEFAULT_CACHE)
        try:
            modules.make("rednet_trial", TRIAL, ("--std=c++17",))
        except Exception as error:
            return BrokenBackend(
                f"CuPy {cupy.__version__} cannot compile a kernel ({_summary(error)}): "
                f"{_advice(error)}"
            )
    return None


def _cuda() -> str:
    return str(torch.version.cuda).partition(".")[0]


def _install() -> str:
    extra = EXTRAS.get(_cuda())
    if extra is None:
        return f"install the CuPy for CUDA {_cuda()}"
    return f'pip install --upgrade "rednet[{extra}]"'


def _advice(error: BaseException) -> str:
    cause = error.__cause__ or error
    if isinstance(cause, OSError):
        return "set CUPY_CACHE_DIR to a writable folder"
    return (
        f"reinstall it with the CUDA libraries that it needs: "
        f'pip install "cupy-cuda{_cuda()}x[ctk]>=14"'
    )


def _summary(error: BaseException) -> str:
    """Return the first lines of an error, or of the one that CuPy wraps in a page of advice."""
    cause = error.__cause__ or error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip(" =-*")]
    return ": ".join([type(cause).__name__, *lines[:2]])


def _folder(cupy: ModuleType) -> str:
    return " and ".join(getattr(cupy, "__path__", ["its folder"]))
