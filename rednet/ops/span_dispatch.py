"""Whether a backend's fused kernel computes an operator of a span, or a composition with a tensor.

Each of the three operators has its own answer: the forward pass may make its kernels on the way
while the gradient of the images reads stored ones, which the backward pass makes again.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from rednet.ops.span_backend import SpanBackend
from rednet.ops.span_sizes import SpanSizes

CHOICES = ("fused", "stored")
"""Values of the environment variable REDNET_SPAN."""


def span_choice() -> str | None:
    """Return what REDNET_SPAN says: "fused", "stored", or None for the backend's preference.

    Raises:
        ValueError: It says something else.
    """
    choice = os.environ.get("REDNET_SPAN") or None
    if choice is not None and choice not in CHOICES:
        raise ValueError(f"REDNET_SPAN must be {' or '.join(CHOICES)}, got {choice!r}")
    return choice


def find_kernel(
    backend: SpanBackend,
    operator: str,
    sizes: SpanSizes,
    dtype: torch.dtype,
    device: torch.device,
    tensors: Sequence[Tensor] = (),
) -> Callable[..., Any] | None:
    """Return a backend's kernel for an operator; None where it has none, or composing is chosen.

    Args:
        backend: The backend.
        operator: One of `SPAN_OPERATORS`.
        sizes: Sizes of the layer.
        dtype: Dtype of all tensors.
        device: Device of all tensors.
        tensors: Tensors of the call, see `SpanBackend.unavailable_reason`; without them it answers
            for a layer.
    """
    kernel: Callable[..., Any] | None = getattr(backend, operator)
    choice = span_choice()
    if kernel is None or choice == "stored":
        return None
    if choice is None and not backend.is_preferred(operator, sizes, dtype, device):
        return None
    given = (tensors,) if tensors else ()
    reason = backend.unavailable_reason(operator, sizes, dtype, device, *given)
    return kernel if reason is None else None
