"""The operators in PyTorch's own operations, for programs that run without this package.

N batch, C channels, G groups, K kernel size, H W input, Ho Wo output; B tiles of T outputs in a
row of the output, R pixels that a tile may read.

The kernels of a tile are written as a matrix (T, R) that is zero except for a band: one row per
output, one column per pixel. An involution is then one product of matrices, in about 20 operations;
a loop over the taps would have 3*K*K, and unfolding would copy every pixel K*K times.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rednet.ops import Window, span_torch_ops, torch_ops

TILE = 7
"""Outputs T of a tile: a divisor of the sizes inside a network for images of 224x224."""


def involution2d(
    input: Tensor, weight: Tensor, kernel_size: int, stride: int, padding: int, dilation: int
) -> Tensor:
    """Return the output (N, C, Ho, Wo) of an involution."""
    window = Window(kernel_size, stride, padding, dilation)
    height, width = weight.shape[2:]
    groups = weight.shape[1] // window.area
    pixels = _read_tiles(input, groups, window, height, width)
    output = _products(_to_band(weight, groups, window), pixels)
    output = output.flatten(3, 4).narrow(3, 0, width)
    return _contiguous(output.permute(0, 1, 4, 2, 3)).view(*input.shape[:2], height, width)


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
    height, width = grad.shape[2:]
    pixels = _read_tiles(input, groups, window, height, width)
    outer = F.pad(grad, (0, TILE * _tiles(width) - width))
    outer = outer.unflatten(1, (groups, -1)).unflatten(4, (-1, TILE))
    band = _products(outer.permute(0, 1, 3, 4, 5, 2), pixels.mT)
    return _from_band(band, window, width)


def _products(one: Tensor, other: Tensor) -> Tensor:
    """Return the products of matrices (N, G, Ho, B, ..., ...), like `torch.matmul`."""
    batch = one.shape[0] * one.shape[1] * one.shape[2] * one.shape[3]
    matrices = (_contiguous(each).view(batch, *each.shape[4:]) for each in (one, other))
    return torch.bmm(*matrices).view(*one.shape[:5], other.shape[5])


def _contiguous(tensor: Tensor) -> Tensor:
    """Return a contiguous copy.

    Other functions copy or not, depending on the sizes, which would exclude a size of 1 from a
    program of torch.export.
    """
    return torch.clone(tensor, memory_format=torch.contiguous_format)


def _tiles(width: int) -> int:
    """Return the number B of tiles that cover `width` outputs."""
    return (width + TILE - 1) // TILE


def span(window: Window) -> int:
    """Return how many pixels of a row of the input a tile may read.

    They are `stride` more than its outputs read, which moves the band by one row of the matrix when
    kernels are written one after the other, see `_to_band`.
    """
    return window.stride * TILE + window.dilation * (window.kernel_size - 1) + 1


def columns(window: Window) -> int:
    """Return the number R of pixels that a tile may read: K rows without the last `stride`."""
    return window.kernel_size * span(window) - window.stride


def _read_tiles(input: Tensor, groups: int, window: Window, height: int, width: int) -> Tensor:
    """Return the pixels that each tile reads, (N, G, Ho, B, R, C/G)."""
    tiles, reach, stride = _tiles(width), span(window), window.stride
    row = stride * TILE * (tiles - 1) + reach
    before = window.padding
    padded = F.pad(input, (before, row - input.shape[3] - before, before, before))
    pixels = padded.unflatten(1, (groups, -1)).flatten(3).transpose(2, 3)

    positions = torch.arange(columns(window), device=input.device)
    positions = positions // reach * (window.dilation * row) + positions % reach
    rows = torch.arange(height, device=input.device) * (stride * row)
    starts = torch.arange(tiles, device=input.device) * (stride * TILE)
    index = rows[:, None, None] + starts[:, None] + positions
    return pixels[:, :, index]


def _to_band(weight: Tensor, groups: int, window: Window) -> Tensor:
    """Write kernels (N, G*K*K, Ho, Wo) as banded matrices (N, G, Ho, B, T, R).

    The kernel of each output takes `stride` numbers more than a row of the matrix, so that every
    row begins further left in it by `stride` columns: the last reshape moves the band.
    """
    width = weight.shape[3]
    size, gap = window.kernel_size, window.dilation
    kernels = weight.unflatten(1, (groups, size, size)).permute(0, 1, 4, 5, 2, 3)
    if gap > 1:
        kernels = F.pad(kernels.unsqueeze(6), (0, gap - 1)).flatten(5)
    missing = TILE * _tiles(width) - width
    kernels = F.pad(kernels, (0, span(window) - size * gap, 0, 0, 0, missing))
    flat = kernels.unflatten(3, (-1, TILE)).flatten(4)
    return flat[..., : TILE * columns(window)].unflatten(4, (TILE, columns(window)))


def _from_band(band: Tensor, window: Window, width: int) -> Tensor:
    """Read kernels (N, G*K*K, Ho, Wo) from banded matrices (N, G, Ho, B, T, R)."""
    size, gap = window.kernel_size, window.dilation
    flat = F.pad(band.flatten(4), (0, TILE * window.stride))
    kernels = flat.unflatten(4, (TILE, size, span(window))).flatten(3, 4).narrow(3, 0, width)
    kernels = kernels[..., : gap * (size - 1) + 1 : gap]
    batch, groups, height = band.shape[:3]
    kernels = _contiguous(kernels.permute(0, 1, 4, 5, 2, 3))
    return kernels.view(batch, groups * window.area, height, width)


DECOMPOSITIONS: dict[Any, Callable[..., Tensor]] = {
    torch_ops.involution2d._opoverload: involution2d,
    torch_ops.grad_weight._opoverload: grad_weight,
    span_torch_ops.involution2d_span._opoverload: span_torch_ops.compose,
}
