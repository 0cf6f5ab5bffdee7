"""Whether a layer computes involution and span as one operator on a GPU."""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from rednet.ops.cuda import span
from rednet.ops.span_backend import SpanBackend
from rednet.ops.span_sizes import SpanSizes

# (architecture, dtype, groups' width C/G, D, K, stride) of the layers for which the model of the
# kernels says that stored kernels are faster; every other layer is fused.
STORED: frozenset[tuple[int, torch.dtype, int, int, int, int]] = frozenset()


def prefer_fused(sizes: SpanSizes, dtype: torch.dtype, architecture: int) -> bool:
    """Return whether fused kernels are expected to be faster than stored ones for a layer.

    Args:
        sizes: Sizes of the layer.
        dtype: Dtype in which it computes.
        architecture: Compute capability of the GPU, such as 80 or 90.
    """
    window = sizes.window
    width = sizes.channels // sizes.groups
    key = (architecture, dtype, width, sizes.reduced_channels, window.kernel_size, window.stride)
    return key not in STORED


def is_preferred(sizes: SpanSizes, dtype: torch.dtype, device: torch.device) -> bool:
    """Return `prefer_fused` for the architecture of a device."""
    return prefer_fused(sizes, dtype, architecture_of(device.index))


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


@cache
def architecture_of(index: int | None) -> int:
    """Return the compute capability of a GPU, such as 90; that of the current one for None."""
    major, minor = torch.cuda.get_device_capability(index)
    return 10 * major + minor


SPAN = SpanBackend(
    unavailable_reason,
    span.span_involution2d,
    span.span_grad_input,
    span.span_gradients,
    is_preferred,
)
