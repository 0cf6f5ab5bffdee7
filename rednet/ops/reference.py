"""The reference backend: a loop over the taps in plain PyTorch, for any device and dtype.

N batch, C channels, G groups, K kernel size, H W input, Ho Wo output.

Each tap is one pass over the output. An operator allocates a padded image and a result; unfolding
would allocate K*K copies of the input.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from rednet.ops.results import memory_format_of
from rednet.ops.window import Window


def involution2d(input: Tensor, weight: Tensor, window: Window) -> Tensor:
    """Return the output (N, C, Ho, Wo) of an involution."""
    return _sum_taps(input, weight, window).to(input.dtype)


def involution2d_affine(
    input: Tensor, weight: Tensor, scale: Tensor, shift: Tensor, relu: bool, window: Window
) -> Tensor:
    """Return the output (N, C, Ho, Wo) of an involution times scale plus shift, and a ReLU."""
    output = _sum_taps(input, weight, window)
    output.mul_(scale[:, None, None]).add_(shift[:, None, None])
    return (output.relu_() if relu else output).to(input.dtype)


def _sum_taps(input: Tensor, weight: Tensor, window: Window) -> Tensor:
    """Return the output of an involution, in float32 for half and bfloat16."""
    groups = weight.shape[1] // window.area
    height, width = weight.shape[2:]
    kernels = weight.unflatten(1, (groups, window.area))
    padded = _pad(_upcast(input), window).unflatten(1, (groups, -1))
    shape = (*input.shape[:2], height, width)
    output = _zeros(padded, shape, memory_format_of(input, weight))
    sums = output.unflatten(1, (groups, -1))
    for tap, rows, columns in window.taps(height, width):
        sums.addcmul_(padded[..., rows, columns], _upcast(kernels[:, :, tap, None]))
    return output


def involution2d_grad_input(
    grad: Tensor, weight: Tensor, input_size: tuple[int, int], window: Window
) -> Tensor:
    """Return the gradient (N, C, H, W) of the input from `grad` (N, C, Ho, Wo)."""
    groups = weight.shape[1] // window.area
    kernels = weight.unflatten(1, (groups, window.area))
    outer = _upcast(grad).unflatten(1, (groups, -1))
    layout = memory_format_of(grad, weight)
    height, width = (size + 2 * window.padding for size in input_size)
    padded = _zeros(outer, (*grad.shape[:2], height, width), layout)
    sums = padded.unflatten(1, (groups, -1))
    for tap, rows, columns in window.taps(*grad.shape[2:]):
        sums[..., rows, columns].addcmul_(outer, _upcast(kernels[:, :, tap, None]))
    top = window.padding
    inner = padded[..., top : top + input_size[0], top : top + input_size[1]]
    return inner.to(grad.dtype, memory_format=layout, copy=True)


def involution2d_grad_weight(grad: Tensor, input: Tensor, groups: int, window: Window) -> Tensor:
    """Return the gradient (N, G*K*K, Ho, Wo) of the weight from `grad` (N, C, Ho, Wo)."""
    size = grad.shape[2:]
    outer = _upcast(grad).unflatten(1, (groups, -1))
    padded = _pad(_upcast(input), window).unflatten(1, (groups, -1))
    shape = (grad.shape[0], groups * window.area, *size)
    output = _empty(outer, shape, memory_format_of(grad, input))
    sums = output.unflatten(1, (groups, window.area))
    products = torch.empty_like(outer)
    for tap, rows, columns in window.taps(*size):
        torch.mul(outer, padded[..., rows, columns], out=products)
        torch.sum(products, 2, out=sums[:, :, tap])
    return output.to(grad.dtype)


def _upcast(tensor: Tensor) -> Tensor:
    """Convert half and bfloat16 to float32, in which their sums are accumulated."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def _pad(input: Tensor, window: Window) -> Tensor:
    return F.pad(input, [window.padding] * 4) if window.padding else input


def _empty(like: Tensor, shape: tuple[int, ...], layout: torch.memory_format) -> Tensor:
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=layout)


def _zeros(like: Tensor, shape: tuple[int, ...], layout: torch.memory_format) -> Tensor:
    return _empty(like, shape, layout).zero_()
