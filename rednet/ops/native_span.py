"""The native backend's involution together with the 1x1 convolution that makes its kernels.

The kernels exist only a tile at a time, in a core's cache: the whole tensor of them would be three
times as large as the images. `kernels/cpu/span_involution.cpp` computes it.

N batch, C channels, D channels of the reduced images, G groups, K kernel size, H W input, Ho Wo
output.
"""

import ctypes
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from struct import Struct

import torch
from torch import Tensor

from rednet.ops import carried, compiler, results
from rednet.ops.c_interface import (
    DTYPE_CODES,
    affine_struct,
    check_status,
    shape_struct,
    tensor_struct,
)
from rednet.ops.plain_tensors import is_channels_last
from rednet.ops.span_sizes import SpanSizes
from rednet.ops.window import Window

SOURCE = Path(__file__).parents[1] / "kernels" / "cpu" / "span_involution.cpp"
FLAGS: tuple[str, ...] = ()
DTYPES = (torch.float32, torch.bfloat16)

_pack_span = Struct("2Pq").pack


def unavailable_reason(
    operator: str,
    sizes: SpanSizes,
    dtype: torch.dtype,
    device: torch.device,
    tensors: Sequence[Tensor] = (),
) -> str | None:
    """Return why the kernel cannot run, or None if it can; see `rednet.ops.span_backend`."""
    if operator != "span_involution2d":
        return f"there is no kernel of {operator} for the CPU"
    if dtype not in DTYPES:
        return f"it computes in float32 and bfloat16, not in {dtype}"
    if not all(is_channels_last(images, DTYPES) for images in tensors[:2]):
        return "it computes images in channels_last"
    return None if is_built() else "its C++ does not compile"


def involution2d(
    input: Tensor, reduced: Tensor, span_weight: Tensor, span_bias: Tensor | None, window: Window
) -> Tensor:
    """Return the output (N, C, Ho, Wo); see `rednet.ops.span_backend`."""
    packed = pack_span(span_weight, span_bias, window.area, input.dtype)
    return run_packed(input, reduced, *packed, None, None, False, window)


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


def run_packed(
    input: Tensor,
    reduced: Tensor,
    weight: Tensor,
    bias: Tensor,
    scale: Tensor | None,
    shift: Tensor | None,
    relu: bool,
    window: Window,
) -> Tensor:
    """Return the output (N, C, Ho, Wo) for a span from `pack_span`; arguments are not checked.

    Args:
        input: Images (N, C, H, W), on the CPU, in one of `DTYPES`.
        reduced: Images (N, D, Ho, Wo) of the same dtype.
        weight: Weight of the span, from `pack_span`.
        bias: Bias of the span, from `pack_span`.
        scale: Factor of each channel (C,) in float32, or None for no scale and no shift.
        shift: Summand of each channel (C,) in float32, or None like `scale`.
        relu: Apply a ReLU at the end, where there is a scale.
        window: Window of the involution.
    """
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


def is_built() -> bool:
    """Return whether the kernel is there; the first call builds it."""
    return _library() is not None


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
