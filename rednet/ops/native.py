"""The native backend: C++ kernels for the CPU, compiled at first use.

The kernels take tensors of any strides, so no tensor is copied. `kernels/cpu/involution.cpp`
describes their arguments.
"""

import ctypes
import os
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from rednet.ops import carried, compiler
from rednet.ops.broken_backend import BrokenBackend
from rednet.ops.c_interface import (
    DTYPE_CODES,
    affine_struct,
    check_status,
    shape_struct,
    tensor_struct,
)
from rednet.ops.results import empty_grad_input, empty_grad_weight, empty_output
from rednet.ops.window import Window

SOURCE = Path(__file__).parents[1] / "kernels" / "cpu" / "involution.cpp"
FLAGS: tuple[str, ...] = ()

# The kernels, and the number of structs that each takes.
_STRUCTS = {
    "involution2d": 4,
    "involution2d_affine": 5,
    "involution2d_grad_input": 4,
    "involution2d_grad_weight": 4,
}
_Kernels = dict[str, Callable[..., int]]
_lock = threading.Lock()


def unavailable_reason(device: torch.device, dtype: torch.dtype) -> str | None:
    """Return why the kernels cannot run on such tensors and what to do, or None if they can.

    The first call for a supported device and dtype compiles the kernels.
    """
    if device.type != "cpu":
        return f"it runs on the CPU, not on {device.type}"
    if dtype not in DTYPE_CODES:
        return f"it computes in float32, bfloat16 and float64, not in {dtype}"
    kernels = _kernels()
    return kernels if isinstance(kernels, BrokenBackend) else None


def involution2d(input: Tensor, weight: Tensor, window: Window) -> Tensor:
    """Return the output (N, C, Ho, Wo) of an involution."""
    groups = weight.shape[1] // window.area
    output = empty_output(input, weight)
    shape = shape_struct(input.shape, groups, weight.shape[2:], window)
    return _run("involution2d", shape, input, weight, output)


def involution2d_affine(
    input: Tensor, weight: Tensor, scale: Tensor, shift: Tensor, relu: bool, window: Window
) -> Tensor:
    """Return the output (N, C, Ho, Wo) of an involution times scale plus shift, and a ReLU."""
    groups = weight.shape[1] // window.area
    output = empty_output(input, weight)
    shape = shape_struct(input.shape, groups, weight.shape[2:], window)
    # Kept here until the kernel has run: it reads their memory.
    scale, shift = (vector.contiguous().resolve_neg() for vector in (scale, shift))
    affine = affine_struct(scale, shift, relu)
    return _run("involution2d_affine", shape, input, weight, output, affine)


def involution2d_grad_input(
    grad: Tensor, weight: Tensor, input_size: tuple[int, int], window: Window
) -> Tensor:
    """Return the gradient (N, C, H, W) of the input from `grad` (N, C, Ho, Wo)."""
    groups = weight.shape[1] // window.area
    output = empty_grad_input(grad, weight, input_size)
    shape = shape_struct(output.shape, groups, grad.shape[2:], window)
    return _run("involution2d_grad_input", shape, grad, weight, output)


def involution2d_grad_weight(grad: Tensor, input: Tensor, groups: int, window: Window) -> Tensor:
    """Return the gradient (N, G*K*K, Ho, Wo) of the weight from `grad` (N, C, Ho, Wo)."""
    output = empty_grad_weight(grad, input, groups, window)
    shape = shape_struct(input.shape, groups, grad.shape[2:], window)
    return _run("involution2d_grad_weight", shape, grad, input, output)


def _run(
    name: str, shape: bytes, first: Tensor, second: Tensor, output: Tensor, *rest: bytes
) -> Tensor:
    """Run the kernel that writes `output`; write zeros if the sums have no terms."""
    if not (first.numel() and second.numel() and output.numel()):
        return output.zero_()
    kernels = _kernels()
    if isinstance(kernels, BrokenBackend):
        raise RuntimeError(kernels)
    # The kernels read memory, where a tensor with torch's negative bit has the opposite sign.
    first, second = first.resolve_neg(), second.resolve_neg()
    tensors = [tensor_struct(tensor) for tensor in (first, second, output)]
    status = kernels[name](
        DTYPE_CODES[output.dtype], torch.get_num_threads(), shape, *tensors, *rest
    )
    check_status(name, status)
    return output


def _kernels() -> _Kernels | BrokenBackend:
    """Return the kernels by name, or why there are none; the first thread to call builds them."""
    with _lock:
        return _build()


@cache
def _build() -> _Kernels | BrokenBackend:
    try:
        library = carried.load(SOURCE, FLAGS)
    except compiler.BuildError as error:
        return BrokenBackend(error)
    kernels: _Kernels = {}
    for name, structs in _STRUCTS.items():
        function = library[f"rednet_{name}"]
        function.argtypes = [ctypes.c_int] * 2 + [ctypes.c_char_p] * structs
        kernels[name] = function
    return kernels


def _renew_lock() -> None:
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    # In a child forked while another thread builds, the lock would never be released.
    os.register_at_fork(after_in_child=_renew_lock)
