"""Which operators of an involution with its span have fused kernels on a GPU, and prefer them."""

from collections.abc import Sequence
from functools import cache
from math import log2

import torch
from torch import Tensor

from rednet.ops.cuda import banded_gradients_plan, span, span_table
from rednet.ops.cuda.device import TENSOR_CORES, architecture_of
from rednet.ops.span_backend import SpanBackend
from rednet.ops.span_sizes import SpanSizes


@cache
def prefer_fused(operator: str, sizes: SpanSizes, dtype: torch.dtype, architecture: int) -> bool:
    """Return whether the model has an operator's fused kernel faster than its composition.

    The table has RedNet-50's layers for two architectures. The next architecture by number
    decides, and the layer that is next by stride, then by the reduced channels for a channel of
    a group (D over C/G, on which the work of making a tap depends), then by K. The sizes of images
    do not matter: both times are proportional to the pixels. An operator without an entry is
    composed. So is every one in 16 bits without tensor cores: there a tap takes as long to make as
    in float32, and half as many bytes to store. And so are a span's gradients where they have no
    kernels by banded matrices, of which the table is.

    Args:
        operator: One of `SPAN_OPERATORS`.
        sizes: Sizes of the layer.
        dtype: Dtype in which it computes.
        architecture: Compute capability of the GPU, such as 80 or 90.
    """
    bits = 16 if dtype.itemsize == 2 else 32
    if bits == 16 and architecture < TENSOR_CORES:
        return False
    is_gradients = bits == 16 and operator == "span_gradients"
    if is_gradients and banded_gradients_plan.unavailable_reason(sizes, dtype, architecture):
        return False
    known = min(span_table.ARCHITECTURES, key=lambda each: abs(each - architecture))
    layer = min(span_table.LAYERS, key=lambda name: _distance(span_table.LAYERS[name], sizes))
    return layer in span_table.FUSED.get((operator, bits, known), ())


def _distance(row: tuple[int, int, int, int, int], sizes: SpanSizes) -> tuple[float, float, float]:
    """Return how far a row of the table (C, G, D, K, stride) is from a layer."""
    channels, groups, depth, kernel_size, stride = row
    width, window = sizes.channels // sizes.groups, sizes.window
    pairs = (
        (stride, window.stride),
        (depth * width, sizes.reduced_channels * (channels // groups)),
        (kernel_size, window.kernel_size),
    )
    first, second, third = (abs(log2(one / other)) for one, other in pairs)
    return first, second, third


def is_preferred(operator: str, sizes: SpanSizes, dtype: torch.dtype, device: torch.device) -> bool:
    """Return `prefer_fused` for the architecture of a device."""
    if sizes.reduced_channels < 1:
        return False
    return prefer_fused(operator, sizes, dtype, architecture_of(device.index))


def unavailable_reason(
    operator: str,
    sizes: SpanSizes,
    dtype: torch.dtype,
    device: torch.device,
    tensors: Sequence[Tensor] = (),
) -> str | None:
    """Return why a device has no fused kernel, or None; see `rednet.ops.span_backend`."""
    architecture = architecture_of(device.index)
    if tensors:
        return span.unavailable_reason(operator, sizes, dtype, architecture, tensors)
    return _unavailable_for_layer(operator, sizes, dtype, architecture)


@cache
def _unavailable_for_layer(
    operator: str, sizes: SpanSizes, dtype: torch.dtype, architecture: int
) -> str | None:
    """Return why there is no kernel for a layer, which asks in every step."""
    return span.unavailable_reason(operator, sizes, dtype, architecture)


SPAN = SpanBackend(
    unavailable_reason,
    span.span_involution2d,
    span.span_grad_input,
    span.span_gradients,
    is_preferred,
)
