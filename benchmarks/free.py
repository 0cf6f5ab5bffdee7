"""The free involution: a copy in place of the operator, a bound on what a faster one can gain.

The kernel generator still runs, forward and backward, but its result is not used.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from rednet.ops import Backend, Window, backend, register_backend
from rednet.ops.results import memory_format_of

NAME = "free"


def involution2d(input: Tensor, weight: Tensor, window: Window) -> Tensor:
    """Return every stride-th pixel (N, C, Ho, Wo) of the input (N, C, H, W)."""
    layout = memory_format_of(input, weight)
    return _centres(input, weight.shape[2:], window).clone(memory_format=layout)


def grad_input(grad: Tensor, weight: Tensor, size: tuple[int, int], window: Window) -> Tensor:
    """Return the gradient (N, C, H, W) of the copied pixels, zeros elsewhere."""
    layout = memory_format_of(grad, weight)
    if window.stride == 1:
        return grad.clone(memory_format=layout)
    shape = (*grad.shape[:2], *size)
    result = torch.empty(shape, dtype=grad.dtype, device=grad.device, memory_format=layout)
    _centres(result.zero_(), grad.shape[2:], window).copy_(grad)
    return result


def grad_weight(grad: Tensor, input: Tensor, groups: int, window: Window) -> Tensor:
    """Return zeros (N, G*K*K, Ho, Wo)."""
    shape = (grad.shape[0], groups * window.area, *grad.shape[2:])
    layout = memory_format_of(grad, input)
    return torch.empty(shape, dtype=grad.dtype, device=grad.device, memory_format=layout).zero_()


def _centres(image: Tensor, size: torch.Size, window: Window) -> Tensor:
    """Return a view of the pixels at the centres of the windows, one per output."""
    rows, columns = (slice(0, window.stride * (side - 1) + 1, window.stride) for side in size)
    return image[..., rows, columns]


FREE = Backend(
    name=NAME,
    unavailable_reason=lambda device, dtype: None,
    involution2d=involution2d,
    grad_input=grad_input,
    grad_weight=grad_weight,
)


@contextmanager
def free_involution() -> Iterator[None]:
    """Replace every involution by a copy within the context."""
    with register_backend(FREE), backend(NAME):
        yield
