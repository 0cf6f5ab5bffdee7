"""Whether a layer computes involution and span as one operator, or stores the kernels."""

import torch

from rednet.ops import select
from rednet.ops.span_backend import SPAN_OPERATORS, SpanBackend
from rednet.ops.span_dispatch import find_kernel, span_choice
from rednet.ops.span_sizes import SpanSizes
from rednet.ops.window import Window


@torch.compiler.assume_constant_result
def is_chosen_in_graph(
    device_type: str,
    index: int | None,
    dtype: torch.dtype,
    records: bool,
    channels: int,
    groups: int,
    reduced_channels: int,
    *window: int,
) -> bool:
    """Return what `find_backend` and `is_chosen` say, from numbers that a compiler knows."""
    device = torch.device(device_type) if index is None else torch.device(device_type, index)
    sizes = SpanSizes(channels, groups, reduced_channels, Window(*window))
    backend = find_backend(device, dtype, records)
    return backend is not None and is_chosen(backend, sizes, dtype, device, records)


def find_backend(device: torch.device, dtype: torch.dtype, records: bool) -> SpanBackend | None:
    """Return the operators of the backend, if it has all that are needed."""
    choice = span_choice()
    if choice == "stored":
        return None
    try:
        backend = select(device, dtype).span
    except RuntimeError:  # which the operators will raise
        return None
    if backend is None or choice == "fused" or not records:
        return backend
    # The span's gradients need no kernels: composed, they write and read gradients of that size.
    return None if backend.span_grad_input is None else backend


def is_chosen(
    backend: SpanBackend, sizes: SpanSizes, dtype: torch.dtype, device: torch.device, records: bool
) -> bool:
    """Return whether one operator, not the convolution and the involution, stands for both.

    It does where it would run a fused kernel: without gradients the forward pass, with them any of
    the three. The others are composed, and nothing is kept for them.
    """
    if backend.unavailable_reason(SPAN_OPERATORS[0], sizes, dtype, device) is not None:
        return False
    names = SPAN_OPERATORS if records else SPAN_OPERATORS[:1]
    return any(find_kernel(backend, name, sizes, dtype, device) is not None for name in names)
