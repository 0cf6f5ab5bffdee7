"""When `recompute_kernel="auto"` generates kernels again in the backward pass."""

from typing import Literal

import torch
from torch import Tensor

from rednet.ops.autocast import has_autocast
from rednet.ops.window import Window

RecomputeKernel = bool | Literal["auto"]

MEMORY_SHARE = 0.1
"""Part of a GPU's memory that the kernels of a network may take.

Kernels are about a fifth of what RedNet-50 saves for the backward pass, which then takes half of
the memory; the rest is for weights, gradients, the optimizer and working space.
"""


def check_recompute_kernel(value: object) -> RecomputeKernel:
    """Return the value of `recompute_kernel`; raise ValueError for any other."""
    if value is True or value is False or value == "auto":
        return value
    raise ValueError(f'recompute_kernel must be True, False or "auto", got {value!r}')


def is_memory_short(x: Tensor, rows: int, window: Window, share: float, reduction: int = 1) -> bool:
    """Return whether the kernels of a network, if saved, take too much memory.

    On an NVIDIA GPU that is more than `MEMORY_SHARE` of all of its memory, free or not: the answer
    depends on sizes alone, so that it is the same in every step and on every rank with such a GPU.
    It is always so on other devices, where making kernels again is cheap, in traces and in exports.

    Args:
        x: Images (N, C, H, W) of one of its layers.
        rows: Numbers G*K*K of a kernel of that layer.
        window: Window of that layer.
        share: Bytes of that layer's kernels divided by those of all layers.
        reduction: Size of x divided by that of the layer's images, per side.
    """
    if not isinstance(x, Tensor) or not x.is_cuda:  # torch.fx has proxies
        return True
    if torch.jit.is_tracing() or torch.compiler.is_exporting():
        return True
    batch, _, height, width = x.shape
    pixels = batch * window.output_size(height) * window.output_size(width)
    kernel_bytes = pixels * rows * _dtype(x).itemsize
    limit = MEMORY_SHARE * share * reduction**2 * gpu_memory(x.device.index)
    return bool(kernel_bytes > limit)


def _dtype(x: Tensor) -> torch.dtype:
    """Return the dtype in which kernels are generated for images."""
    device = x.device.type
    if has_autocast(device) and torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return x.dtype


@torch.compiler.assume_constant_result
def gpu_memory(index: int | None) -> int:
    """Return the bytes of a GPU's memory; 0 for the GPUs of fake tensors on a machine without."""
    if not torch.cuda.is_available():
        return 0
    return torch.cuda.get_device_properties(index).total_memory
