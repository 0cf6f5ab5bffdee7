"""The free involution: a copy in the operator's place, which bounds what a faster one can bring.

The kernel generator still runs, forwards and backwards; its result is not looked at.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from rednet.ops import Window, backends
from rednet.ops.window import memory_format_of

NAME = "free"


def involution2d(input: Tensor, weight: Tensor, window: Window) -> Tensor:
    """Every stride-th pixel (N, C, Ho, Wo) of the input (N, C, H, W)."""
    layout = memory_format_of(input, weight)
    return _met(input, weight.shape[2:], window).clone(memory_format=layout)


def grad_input(grad: Tensor, weight: Tensor, size: tuple[int, int], window: Window) -> Tensor:
    """The gradient (N, C, H, W) that the pixels kept have, zeros elsewhere."""
    layout = memory_format_of(grad, weight)
    if window.stride == 1:
        return grad.clone(memory_format=layout)
    shape = (*grad.shape[:2], *size)
    result = torch.empty(shape, dtype=grad.dtype, device=grad.device, memory_format=layout)
    _met(result.zero_(), grad.shape[2:], window).copy_(grad)
    return result


def grad_weight(grad: Tensor, input: Tensor, groups: int, window: Window) -> Tensor:
    """Zeros (N, G*K*K, Ho, Wo)."""
    shape = (grad.shape[0], groups * window.area, *grad.shape[2:])
    layout = memory_format_of(grad, input)
    return torch.empty(shape, dtype=grad.dtype, device=grad.device, memory_format=layout).zero_()


def _met(image: Tensor, size: torch.Size, window: Window) -> Tensor:
    """The pixels under the middle of a centred window, as many as there are outputs."""
    rows, columns = (slice(0, window.stride * (side - 1) + 1, window.stride) for side in size)
    return image[..., rows, columns]


FREE = backends.Backend(
    name=NAME,
    unavailable_reason=lambda device, dtype: None,
    involution2d=involution2d,
    grad_input=grad_input,
    grad_weight=grad_weight,
)


@contextmanager
def free_involution() -> Iterator[None]:
    """Every involution inside is a copy; the public backends are as before afterwards."""
    registry: Any = backends
    known = registry.BACKENDS
    registry.BACKENDS = (*known, FREE)
    try:
        with backends.backend(NAME):
            yield
    finally:
        registry.BACKENDS = known
