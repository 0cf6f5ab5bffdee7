"""An involution together with the 1x1 convolution that makes its kernels, the span.

The kernels exist only a tile at a time, in a core's cache: the whole tensor of them would be three
times as large as the images. `kernels/cpu/span_involution.cpp` computes it, for inference.

N batch, C channels, D channels of the reduced images, G groups, K kernel size, H W input, Ho Wo
output.
"""

import ctypes
from functools import cache
from pathlib import Path
from struct import Struct

import torch
import torch.nn.functional as F
from torch import Tensor

from rednet.ops import carried, compiler, results, torch_ops
from rednet.ops.backends import select
from rednet.ops.c_interface import (
    DTYPE_CODES,
    affine_struct,
    check_status,
    shape_struct,
    tensor_struct,
)
from rednet.ops.window import Window

SOURCE = Path(__file__).parents[1] / "kernels" / "cpu" / "span_involution.cpp"
FLAGS: tuple[str, ...] = ()
DTYPES = (torch.float32, torch.bfloat16)

_pack_span = Struct("2Pq").pack


def can_run(dtype: torch.dtype) -> bool:
    """Return whether the kernel runs on the CPU for a dtype, and involutions run on its backend."""
    try:
        is_native = dtype in DTYPES and select(torch.device("cpu"), dtype).name == "native"
    except RuntimeError:
        return False
    return is_native and _library() is not None


def pack_span(
    weight: Tensor, bias: Tensor | None, area: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Return the weight and bias of a span as the kernel reads them.

    Args:
        weight: Weight (G*K*K, D, 1, 1) of the convolution.
        bias: Its bias (G*K*K,), or None.
        area: K*K.
        dtype: Dtype of the images.

    Returns:
        A weight (G, D, K*K) in float32 or, for a CPU that multiplies bfloat16 in pairs, (G, D/2,
        K*K, 2) in bfloat16; and a bias (G*K*K,) in float32.
    """
    taps = weight.to(dtype).reshape(-1, area, weight.shape[1])  # (G, K*K, D)
    if dtype is torch.bfloat16 and weight.shape[1] % 2 == 0 and _multiplies_pairs():
        packed = taps.unflatten(2, (-1, 2)).transpose(1, 2)
    else:
        packed = taps.float().transpose(1, 2)
    if bias is None:
        bias = packed.new_zeros(weight.shape[0])
    return packed.contiguous(), bias.to(dtype).float().contiguous()


def span_involution2d(
    input: Tensor,
    reduced: Tensor,
    weight: Tensor,
    bias: Tensor,
    scale: Tensor | None,
    shift: Tensor | None,
    relu: bool,
    kernel_size: int,
    stride: int,
    padding: int,
    dilation: int,
) -> Tensor:
    """Return the involution (N, C, Ho, Wo) whose kernels are the convolution of `reduced`.

    It is not differentiable, and its arguments are not checked.

    Args:
        input: Images (N, C, H, W), on the CPU, in one of `DTYPES`.
        reduced: Images (N, D, Ho, Wo) of the same dtype.
        weight: Weight of the span, from `pack_span`.
        bias: Bias of the span, from `pack_span`.
        scale: Factor of each channel (C,) in float32, or None for no scale and no shift.
        shift: Summand of each channel (C,) in float32, or None like `scale`.
        relu: Apply a ReLU at the end, where there is a scale.
        kernel_size: As in `involution2d`, like the next three.
        stride: As in `involution2d`.
        padding: As in `involution2d`.
        dilation: As in `involution2d`.
    """
    window = Window(kernel_size, stride, padding, dilation)
    if not can_run(input.dtype):
        return _compose(input, reduced, weight, bias, scale, shift, relu, window)
    in_pairs = weight.dtype is torch.bfloat16
    if in_pairs:  # which are read as elements of 4 bytes
        reduced = reduced.contiguous(memory_format=torch.channels_last)
        reduced = reduced.clone() if reduced.data_ptr() % 4 else reduced
    size = reduced.shape[2:]
    output = results.empty_like_images(input, size)
    affine = None if scale is None or shift is None else affine_struct(scale, shift, relu)
    library = _library()
    assert library is not None
    status = library.rednet_span_involution2d(
        DTYPE_CODES[input.dtype],
        torch.get_num_threads(),
        shape_struct(input.shape, weight.shape[0], size, window),
        *map(tensor_struct, (input, reduced, output)),
        _pack_span(weight.data_ptr(), bias.data_ptr(), weight.shape[1]),
        in_pairs,
        affine,
    )
    check_status("span_involution2d", status)
    return output


def _compose(
    input: Tensor,
    reduced: Tensor,
    weight: Tensor,
    bias: Tensor,
    scale: Tensor | None,
    shift: Tensor | None,
    relu: bool,
    window: Window,
) -> Tensor:
    """Return the same by other backends, with a tensor of kernels."""
    rows = weight.transpose(1, 2).reshape(-1, reduced.shape[1], 1, 1)
    kernel = F.conv2d(reduced, rows.to(input.dtype), bias.to(input.dtype))
    if scale is None or shift is None:
        return torch_ops.involution2d(input, kernel, *window.sides)
    return torch_ops.run_affine(input, kernel, scale, shift, relu, *window.sides)


@cache
def _multiplies_pairs() -> bool:
    library = _library()
    return library is not None and bool(library.rednet_multiplies_pairs())


@cache
def _library() -> ctypes.CDLL | None:
    """Return the kernel; None if it cannot be built, about which the native backend warns."""
    try:
        library = carried.load(SOURCE, FLAGS)
    except compiler.BuildError:
        return None
    integer, struct = ctypes.c_int, ctypes.c_char_p
    library.rednet_span_involution2d.argtypes = [
        *(integer, integer, struct, struct, struct, struct, struct, integer, struct)
    ]
    return library
