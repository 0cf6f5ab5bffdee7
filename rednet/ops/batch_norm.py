"""Batch normalisation with a shortcut and a ReLU in the same pass, on the CPU, in channels_last.

`kernels/cpu/batch_norm.cpp` computes it; the first derivative too. Derivatives of higher order are
plain PyTorch. `rednet.layers.norm` decides where it is used.
"""

import ctypes
from functools import cache
from pathlib import Path
from struct import Struct
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import Parameter

from rednet.ops import compiler
from rednet.ops.backends import select
from rednet.ops.c_interface import DTYPE_CODES, check_status

SOURCE = Path(__file__).parents[1] / "kernels" / "cpu" / "batch_norm.cpp"
FLAGS = ("-fno-math-errno",)

DTYPES = (torch.float32, torch.bfloat16)
_SPACE = (0, 2, 3)
_pack_forward = Struct("2q8P2d2q").pack
_pack_backward = Struct("2q8P2q").pack


class Channels(NamedTuple):
    """What a layer keeps of each channel, (C,) each, or None.

    Attributes:
        weight: Scale; None for 1.
        bias: Offset; None for 0.
        mean: Recorded mean.
        var: Recorded variance.
    """

    weight: Tensor | None
    bias: Tensor | None
    mean: Tensor | None
    var: Tensor | None


class Statistics(NamedTuple):
    """What normalises.

    Attributes:
        of_batch: The statistics of the batch, not the recorded ones.
        tracks: Move the recorded ones, where there are, towards those of the batch.
        momentum: How far, from 0 to 1.
        eps: Added to the variance.
    """

    of_batch: bool
    tracks: bool
    momentum: float
    eps: float


def can_run(x: Tensor, channels: Channels, shortcut: Tensor | None = None) -> bool:
    """Whether the kernels can take images `x` with such parameters and such a shortcut.

    Where all else fits, this compiles the kernels at its first call.
    """
    return (
        is_plain_eager()
        and _are_images(x)
        and (shortcut is None or (_are_images(shortcut) and _is_alike(shortcut, x)))
        and all(vector is None or _is_vector(vector, x.shape[1]) for vector in channels)
        and _is_chosen(x)
    )


def batch_norm(
    x: Tensor,
    channels: Channels,
    statistics: Statistics,
    relu: bool = False,
    shortcut: Tensor | None = None,
) -> Tensor:
    """Normalises every channel of x; adds `shortcut`; applies a ReLU.

    Args:
        x: Images (N, C, H, W), channels_last without gaps, float32 or bfloat16.
        channels: Parameters and recorded statistics, float32.
        statistics: Which statistics normalise.
        relu: Whether a ReLU ends it.
        shortcut: Something of x's shape, dtype and layout, or None.
    """
    inputs = (x, channels.weight, channels.bias, shortcut)
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in inputs):
        return _BatchNorm.apply(*inputs, channels, statistics, relu)
    return _forward(x, channels, statistics, relu, shortcut)[0]


class _BatchNorm(torch.autograd.Function):
    """Keeps x, which the mask of the ReLU is found from, or the output where there is a shortcut.

    The output is what the next layer keeps anyway.
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
        native = not torch.is_grad_enabled() and is_plain_eager() and _is_plain(grad)
        grads = (_backward if native else _differentiable_backward)(ctx, grad)
        return *grads, None, None, None


def _forward(
    x: Tensor,
    channels: Channels,
    statistics: Statistics,
    relu: bool,
    shortcut: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """The output, and mean, 1 / deviation, scale and offset (4, C) of the channels."""
    output = torch.empty_like(x)
    record = x.new_empty(4, x.shape[1], dtype=torch.float64)
    of_batch, tracks, momentum, eps = statistics
    recorded = (channels.mean, channels.var) if tracks or not of_batch else (None, None)
    tensors = (x, shortcut, output, channels.weight, channels.bias, *recorded, record)
    arguments = _pack_forward(*_sizes(x), *map(_address, tensors), momentum, eps, of_batch, relu)
    _run("rednet_batch_norm", x.dtype, arguments)
    return output, record


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    """Gradients of x, weight, bias and shortcut, each where it is needed."""
    x, _, record, output = ctx.saved_tensors
    x, grad = _dense(x), _dense(grad)
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


def _differentiable_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    """The same by differentiable operations: a function of x, the weight and `grad`."""
    x, weight, record, output = ctx.saved_tensors
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
    """Images at mean 0 and variance 1, and 1 / their deviation before."""
    if statistics.of_batch:
        distance = x - x.mean(_SPACE, True)
        deviation = (distance.square().mean(_SPACE, True) + statistics.eps).rsqrt()
    else:
        mean, deviation = record[:2, :, None, None].float()
        distance = x - mean
    return distance * deviation, deviation


def _is_off(x: Tensor, record: Tensor) -> Tensor:
    """Where the ReLU gave zero, as the kernel finds it."""
    mean, _, scale, offset = record[:, :, None, None]
    return (x.float() - mean.float()) * scale + offset <= 0


def _dense(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)


def _sizes(x: Tensor) -> tuple[int, int]:
    """Rows and columns of the matrix that images in channels_last are."""
    return x.numel() // x.shape[1], x.shape[1]


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def is_plain_eager() -> bool:
    """Whether nothing wants to see the single operations: no mode, no trace, no transform."""
    return not (
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or torch._C._len_torch_dispatch_stack()
        or torch._C._len_torch_function_stack()
        or torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0
    )


def _is_plain(tensor: Tensor) -> bool:
    """Whether a tensor is nothing but an array in the memory of the CPU."""
    return (
        (type(tensor) is Tensor or type(tensor) is Parameter)
        and tensor.is_cpu
        and tensor.layout is torch.strided
        and not tensor.is_neg()
    )


def _are_images(x: Tensor) -> bool:
    return (
        _is_plain(x)
        and x.dtype in DTYPES
        and x.dim() == 4
        and x.numel() > 0
        and x.is_contiguous(memory_format=torch.channels_last)
    )


def _is_alike(shortcut: Tensor, x: Tensor) -> bool:
    return shortcut.shape == x.shape and shortcut.dtype == x.dtype


def _is_vector(tensor: Tensor, size: int) -> bool:
    return (
        _is_plain(tensor)
        and tensor.dtype is torch.float32
        and tensor.dim() == 1
        and tensor.numel() == size
        and tensor.is_contiguous()
    )


def _is_chosen(x: Tensor) -> bool:
    """Whether involutions of such images would not run on the reference, and this can run."""
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
    """The kernels; None where they cannot be built, of which the native backend warns."""
    try:
        library = compiler.load(SOURCE, FLAGS)
    except compiler.BuildError:
        return None
    for name in ("rednet_batch_norm", "rednet_batch_norm_grad"):
        library[name].argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_char_p]
    return library
