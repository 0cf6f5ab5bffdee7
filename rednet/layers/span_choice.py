"""Whether a layer computes involution and span as one operator, or stores the kernels."""

import os

import torch

from rednet.ops import select
from rednet.ops.span_backend import SPAN_OPERATORS, SpanBackend
from rednet.ops.span_sizes import SpanSizes
from rednet.ops.window import Window

CHOICES = ("fused", "stored")
"""Values of the environment variable REDNET_SPAN."""


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


def span_choice() -> str | None:
    """Return what REDNET_SPAN says: "fused", "stored", or None for the backend's preference.

    Raises:
        ValueError: It says something else.
    """
    choice = os.environ.get("REDNET_SPAN") or None
    if choice is not None and choice not in CHOICES:
        raise ValueError(f"REDNET_SPAN must be {' or '.join(CHOICES)}, got {choice!r}")
    return choice


def is_chosen(
    backend: SpanBackend, sizes: SpanSizes, dtype: torch.dtype, device: torch.device, records: bool
) -> bool:
    """Return whether kernels for all that is needed exist, and are preferred or forced."""
    is_forced = span_choice() == "fused"
    needed = SPAN_OPERATORS[:2] if records and not is_forced else SPAN_OPERATORS[:1]
    reasons = (backend.unavailable_reason(name, sizes, dtype, device) for name in needed)
    return all(reason is None for reason in reasons) and (
        is_forced or backend.is_preferred(sizes, dtype, device)
    )
