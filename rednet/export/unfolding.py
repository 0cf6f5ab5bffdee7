"""The operators in PyTorch's own operations, for programs that run without this package.

N batch, C channels, G groups, K kernel size, H W input, Ho Wo output.

They copy every pixel K*K times, as the first implementations of the involution did; in return they
are so few operations that a network is rewritten in seconds.
"""

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from rednet.ops import Window, torch_ops


def involution2d(
    input: Tensor, weight: Tensor, kernel_size: int, stride: int, padding: int, dilation: int
) -> Tensor:
    """Return the output (N, C, Ho, Wo) of an involution."""
    window = Window(kernel_size, stride, padding, dilation)
    groups = weight.shape[1] // window.area
    kernels = weight.unflatten(1, (groups, 1, kernel_size, kernel_size))
    return (_unfold(input, groups, window) * kernels).sum((3, 4)).flatten(1, 2)


def grad_weight(
    grad: Tensor,
    input: Tensor,
    groups: int,
    kernel_size: int,
    stride: int,
    padding: int,
    dilation: int,
) -> Tensor:
    """Return the gradient (N, G*K*K, Ho, Wo) of the weight: the scores of self-attention."""
    window = Window(kernel_size, stride, padding, dilation)
    outer = grad.unflatten(1, (groups, grad.shape[1] // groups, 1, 1))
    return (_unfold(input, groups, window) * outer).sum(2).flatten(1, 3)


def _unfold(input: Tensor, groups: int, window: Window) -> Tensor:
    """Return what each tap of each window reads, a view (N, G, C/G, K, K, Ho, Wo)."""
    span = window.dilation * (window.kernel_size - 1) + 1
    padded = F.pad(input, [window.padding] * 4)
    taps = padded.unfold(2, span, window.stride).unfold(3, span, window.stride)
    taps = taps[..., :: window.dilation, :: window.dilation].permute(0, 1, 4, 5, 2, 3)
    return taps.unflatten(1, (groups, input.shape[1] // groups))


DECOMPOSITIONS: dict[Any, Callable[..., Tensor]] = {
    torch_ops.involution2d._opoverload: involution2d,
    torch_ops.grad_weight._opoverload: grad_weight,
}
