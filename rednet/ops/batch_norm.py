"""Batch normalisation, shortcut and ReLU in one pass, for channels_last images on the CPU.

`kernels/cpu/batch_norm.cpp` computes them and their first derivative; derivatives of higher order
are plain PyTorch. `rednet.layers.norm` decides where this is used.
"""

import ctypes
from functools import cache
from pathlib import Path
from struct import Struct
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rednet.ops import carried, compiler
from rednet.ops.backends import select
from rednet.ops.c_interface import DTYPE_CODES, check_status
from rednet.ops.plain_tensors import (
    is_channels_last,
    is_plain,
    is_plain_eager,
    is_recorded,
    is_vector,
)

SOURCE = Path(__file__).parents[1] / "kernels" / "cpu" / "batch_norm.cpp"
FLAGS = ("-fno-math-errno",)
DTYPES = (torch.float32, torch.bfloat16)

_SPACE = (0, 2, 3)
# Input, weight, record of the statistics, and output where it has the ReLU's mask.
_Saved = tuple[Tensor, Tensor | None, Tensor, Tensor | None]
# The structs Forward and Backward of the C++ source.
_pack_forward = Struct("2q8P2d2q").pack
_pack_backward = Struct("2q8P2q").pack


class Channels(NamedTuple):
    """Parameters and running statistics of a layer, each (C,).

    Attributes:
        weight: Scale; None for 1.
        bias: Offset; None for 0.
        mean: Running mean, or None.
        var: Running variance, or None.
    """

    weight: Tensor | None
    bias: Tensor | None
    mean: Tensor | None
    var: Tensor | None


class Statistics(NamedTuple):
    """Statistics that normalise.

    Attributes:
        of_batch: Use the statistics of the batch, not the running ones.
        tracks: Update the running statistics, if there are any.
        momentum: Weight of the batch in the running statistics, from 0 to 1.
        eps: Added to the variance.
    """

    of_batch: bool
    tracks: bool
    momentum: float
    eps: float


def can_run(x: Tensor, channels: Channels, shortcut: Tensor | None = None) -> bool:
    """Return whether the kernels take these images, parameters and shortcut.

    The first call for which nothing else is in the way compiles the kernels.
    """
    return (
        is_plain_eager()
        and is_channels_last(x, DTYPES)
        and (shortcut is None or (is_channels_last(shortcut, DTYPES) and _is_alike(shortcut, x)))
        and all(vector is None or is_vector(vector, x.shape[1]) for vector in channels)
        and _is_selected(x)
    )


def batch_norm(
    x: Tensor,
    channels: Channels,
    statistics: Statistics,
    relu: bool = False,
    shortcut: Tensor | None = None,
) -> Tensor:
    """Normalise every channel of x, add `shortcut`, apply a ReLU.

    Args:
        x: Images (N, C, H, W), channels_last and dense, float32 or bfloat16.
        channels: Parameters and running statistics, float32.
        statistics: The statistics that normalise.
        relu: Apply a ReLU at the end.
        shortcut: Tensor of x's shape, dtype and memory format, or None.
    """
    inputs = (x, channels.weight, channels.bias, shortcut)
    if is_recorded(*inputs):
        return _BatchNorm.apply(*inputs, channels, statistics, relu)
    return _forward(x, channels, statistics, relu, shortcut)[0]


class _BatchNorm(torch.autograd.Function):
    """Saves x, from which the backward pass finds the ReLU's mask.

    With a shortcut it also saves the output, which the next layer saves anyway, for the mask.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        shortcut: Tensor | None,
        channels: Channels,
        statistics: Statistics,
        relu: bool,
    ) -> Tensor:
        output, record = _forward(x, channels, statistics, relu, shortcut)
        masks = output if relu and shortcut is not None else None
        ctx.save_for_backward(x, weight, record, masks)
        ctx.statistics, ctx.relu = statistics, relu
        return output

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        # Gradients are enabled here only with create_graph, for a derivative of higher order.
        native = not torch.is_grad_enabled() and is_plain_eager() and _are_readable(saved, grad)
        grads = (_backward if native else _differentiable_backward)(ctx, saved, grad)
        return *grads, None, None, None


def _are_readable(saved: _Saved, grad: Tensor) -> bool:
    """Return whether the kernel can read the saved tensors, which hooks may have changed."""
    x, _, record, output = saved
    images = (grad, x) if output is None else (grad, x, output)
    return (
        all(is_plain(tensor) and tensor.dtype is grad.dtype for tensor in images)
        and not grad._is_zerotensor()
        and is_plain(record)
        and record.dtype is torch.float64
    )


def _forward(
    x: Tensor,
    channels: Channels,
    statistics: Statistics,
    relu: bool,
    shortcut: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Return the output, and the channels' mean, 1 / deviation, scale and offset (4, C)."""
    output = torch.empty_like(x)
    record = x.new_empty(4, x.shape[1], dtype=torch.float64)
    of_batch, tracks, momentum, eps = statistics
    running = (channels.mean, channels.var) if tracks or not of_batch else (None, None)
    tensors = (x, shortcut, output, channels.weight, channels.bias, *running, record)
    arguments = _pack_forward(*_sizes(x), *map(_address, tensors), momentum, eps, of_batch, relu)
    _run("rednet_batch_norm", x.dtype, arguments)
    return output, record


def _backward(ctx: Any, saved: _Saved, grad: Tensor) -> tuple[Tensor | None, ...]:
    """Return the gradients of x, weight, bias and shortcut, None for those not needed."""
    x, _, record, output = saved
    x, grad, record = _dense(x), _dense(grad), record.contiguous()
    output = None if output is None else _dense(output)
    needs = ctx.needs_input_grad
    masked = None if output is None else torch.empty_like(x)
    grad_x = torch.empty_like(x) if needs[0] else None
    grad_weight, grad_bias = (
        x.new_empty(x.shape[1], dtype=torch.float32) if needed else None for needed in needs[1:3]
    )
    tensors = (grad, x, output, record, masked, grad_x, grad_weight, grad_bias)
    arguments = _pack_backward(
        *_sizes(x), *map(_address, tensors), ctx.statistics.of_batch, ctx.relu
    )
    _run("rednet_batch_norm_grad", x.dtype, arguments)
    grad_shortcut = grad if masked is None else masked
    return grad_x, grad_weight, grad_bias, grad_shortcut if needs[3] else None


def _differentiable_backward(ctx: Any, saved: _Saved, grad: Tensor) -> tuple[Tensor | None, ...]:
    """Return the same gradients by operations that autograd can differentiate again."""
    x, weight, record, output = saved
    normal, deviation = _standardise(x.float(), record, ctx.statistics)
    if ctx.relu:
        grad = torch.where(_is_off(x.detach(), record) if output is None else output <= 0, 0, grad)
    direct = grad.float()
    product = direct * normal
    inner = direct
    if ctx.statistics.of_batch:
        inner = direct - direct.mean(_SPACE, True) - normal * product.mean(_SPACE, True)
    scale = deviation if weight is None else deviation * weight[:, None, None]
    grads = ((inner * scale).to(x.dtype), product.sum(_SPACE), direct.sum(_SPACE), grad)
    needs = ctx.needs_input_grad[:4]
    return tuple(g if needed else None for g, needed in zip(grads, needs, strict=True))


def _standardise(x: Tensor, record: Tensor, statistics: Statistics) -> tuple[Tensor, Tensor]:
    """Return images of mean 0 and variance 1, and 1 / the standard deviation of x."""
    if statistics.of_batch:
        distance = x - x.mean(_SPACE, True)
        deviation = (distance.square().mean(_SPACE, True) + statistics.eps).rsqrt()
    else:
        mean, deviation = record[:2, :, None, None].float()
        distance = x - mean
    return distance * deviation, deviation


def _is_off(x: Tensor, record: Tensor) -> Tensor:
    """Return where the ReLU gives zero, by the same arithmetic as the kernel."""
    mean, _, scale, offset = record[:, :, None, None]
    return (x.float() - mean.float()) * scale + offset <= 0


def _dense(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)


def _sizes(x: Tensor) -> tuple[int, int]:
    """Return rows (pixels) and columns (channels) of channels_last images as a matrix."""
    return x.numel() // x.shape[1], x.shape[1]


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def _is_alike(shortcut: Tensor, x: Tensor) -> bool:
    return shortcut.shape == x.shape and shortcut.dtype == x.dtype


def _is_selected(x: Tensor) -> bool:
    """Return whether involutions of x would run on a kernel, and the library is available."""
    try:
        return select(x.device, x.dtype).name != "reference" and _library() is not None
    except RuntimeError:
        return False


def _run(name: str, dtype: torch.dtype, arguments: bytes) -> None:
    library = _library()
    assert library is not None, "can_run was not asked"
    check_status(name, library[name](DTYPE_CODES[dtype], torch.get_num_threads(), arguments))


@cache
def _library() -> ctypes.CDLL | None:
    """Return the kernels; None if they cannot be built, about which the native backend warns."""
    try:
        library = carried.load(SOURCE, FLAGS)
    except compiler.BuildError:
        return None
    for name in ("rednet_batch_norm", "rednet_batch_norm_grad"):
        library[name].argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_char_p]
    return library
