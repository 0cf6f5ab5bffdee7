"""ONNX translations of the operators, from operators of the standard alone.

They take the steps of `rednet.export.tiling`, whose letters are used here. In ONNX Runtime and
OpenVINO this takes about half the time of a loop over the taps, see docs/export.md.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from onnxscript import opset18 as op

from rednet.export.tiling import TILE, columns, span
from rednet.ops import Window, torch_ops

Value = Any
"""A tensor of the ONNX graph that is being built."""


class _Tiles(NamedTuple):
    """The tiles of an output.

    Attributes:
        window: Window of the involution.
        size: (Ho, Wo).
        width: Wo, of shape (1,), like the next.
        count: B.
    """

    window: Window
    size: Value
    width: Value
    count: Value

    @property
    def missing(self) -> Value:
        """Outputs that the last tile lacks, of shape (1,)."""
        return op.Sub(op.Mul(self.count, _integers(TILE)), self.width)


def involution2d(
    input: Value, weight: Value, kernel_size: int, stride: int, padding: int, dilation: int
) -> Value:
    """Translate `rednet::involution2d`."""
    window = Window(kernel_size, stride, padding, dilation)
    channels, groups = input.shape[1], weight.shape[1] // window.area
    tiles = _tiles(weight, window)
    pixels = _read_tiles(input, groups, tiles)
    output = op.MatMul(_to_band(weight, groups, tiles), pixels)
    output = op.Reshape(output, _integers(0, 0, 0, -1, channels // groups))
    output = op.Slice(output, _integers(0), tiles.width, _integers(3))
    output = op.Transpose(output, perm=(0, 1, 4, 2, 3))
    return op.Reshape(output, op.Concat(_integers(0, channels), tiles.size, axis=0))


def grad_weight(
    grad: Value,
    input: Value,
    groups: int,
    kernel_size: int,
    stride: int,
    padding: int,
    dilation: int,
) -> Value:
    """Translate `rednet::involution2d_grad_weight`, the scores of self-attention in a window."""
    tiles = _tiles(grad, Window(kernel_size, stride, padding, dilation))
    depth = grad.shape[1] // groups
    outer = op.Pad(grad, op.Concat(_integers(*[0] * 7), tiles.missing, axis=0))
    height = op.Shape(grad, start=2, end=3)
    outer = op.Reshape(outer, op.Concat(_integers(0, groups, depth), height, _integers(-1), axis=0))
    outer = op.Transpose(outer, perm=(0, 1, 3, 4, 2))
    outer = op.Reshape(outer, _integers(0, 0, 0, -1, TILE, depth))
    pixels = op.Transpose(_read_tiles(input, groups, tiles), perm=(0, 1, 2, 3, 5, 4))
    return _from_band(op.MatMul(outer, pixels), groups, tiles)


def _tiles(output: Value, window: Window) -> _Tiles:
    """Return the tiles of an output, or of anything else of its size."""
    width = op.Shape(output, start=3, end=4)
    count = op.Div(op.Add(width, _integers(TILE - 1)), _integers(TILE))
    return _Tiles(window, op.Shape(output, start=2, end=4), width, count)


def _read_tiles(input: Value, groups: int, tiles: _Tiles) -> Value:
    """Return the pixels that each tile reads, (N, G, Ho, B, R, C/G)."""
    window, reach = tiles.window, span(tiles.window)
    step = window.stride * TILE
    row = op.Add(op.Mul(tiles.count, _integers(step)), _integers(reach - step))
    before = window.padding
    after = op.Sub(op.Sub(row, op.Shape(input, start=3, end=4)), _integers(before))
    pads = op.Concat(_integers(0, 0, before, before, 0, 0, before), after, axis=0)
    pixels = op.Reshape(op.Pad(input, pads), _integers(0, groups, input.shape[1] // groups, -1))
    pixels = op.Transpose(pixels, perm=(0, 1, 3, 2))

    rows = op.Mul(_range(op.Slice(tiles.size, _integers(0), _integers(1))), row)
    rows = op.Mul(rows, _integers(window.stride))
    starts = op.Mul(_range(tiles.count), _integers(step))
    positions = range(columns(window))
    index = op.Mul(_integers(*(window.dilation * (i // reach) for i in positions)), row)
    index = op.Add(index, _integers(*(i % reach for i in positions)))
    index = op.Add(op.Unsqueeze(starts, _integers(1)), index)
    index = op.Add(op.Unsqueeze(rows, _integers(1, 2)), index)
    return op.Gather(pixels, index, axis=2)


def _to_band(weight: Value, groups: int, tiles: _Tiles) -> Value:
    """Write kernels (N, G*K*K, Ho, Wo) as banded matrices (N, G, Ho, B, T, R)."""
    window, size, gap = tiles.window, tiles.window.kernel_size, tiles.window.dilation
    kernels = op.Reshape(weight, _integers(0, groups, window.area, -1))
    kernels = op.Transpose(kernels, perm=(0, 1, 3, 2))
    kernels = op.Reshape(
        kernels, op.Concat(_integers(0, 0), tiles.size, _integers(size, -1), axis=0)
    )
    if gap > 1:
        kernels = op.Unsqueeze(kernels, _integers(6))
        kernels = op.Pad(kernels, _integers(*[0] * 13, gap - 1))
        kernels = op.Reshape(kernels, _integers(0, 0, 0, 0, 0, -1))
    after = op.Concat(tiles.missing, _integers(0, span(window) - size * gap), axis=0)
    kernels = op.Pad(kernels, op.Concat(_integers(*[0] * 9), after, axis=0))
    flat = op.Reshape(kernels, _integers(0, 0, 0, -1, TILE * size * span(window)))
    flat = op.Slice(flat, _integers(0), _integers(TILE * columns(window)), _integers(4))
    return op.Reshape(flat, _integers(0, 0, 0, 0, TILE, columns(window)))


def _from_band(band: Value, groups: int, tiles: _Tiles) -> Value:
    """Read kernels (N, G*K*K, Ho, Wo) from banded matrices (N, G, Ho, B, T, R)."""
    window, size, gap = tiles.window, tiles.window.kernel_size, tiles.window.dilation
    flat = op.Reshape(band, _integers(0, 0, 0, 0, TILE * columns(window)))
    flat = op.Pad(flat, _integers(*[0] * 9, TILE * window.stride))
    kernels = op.Reshape(flat, _integers(0, 0, 0, -1, size, span(window)))
    ends = op.Concat(tiles.width, _integers(gap * (size - 1) + 1), axis=0)
    kernels = op.Slice(kernels, _integers(0, 0), ends, _integers(3, 5), _integers(1, gap))
    kernels = op.Transpose(kernels, perm=(0, 1, 4, 5, 2, 3))
    shape = op.Concat(_integers(0, groups * window.area), tiles.size, axis=0)
    return op.Reshape(kernels, shape)


def _range(end: Value) -> Value:
    """Return 0, 1, ... below `end`, which has the shape (1,)."""
    return op.Range(_integer(0), op.Squeeze(end), _integer(1))


def _integers(*values: int) -> Value:
    return op.Constant(value_ints=values)


def _integer(value: int) -> Value:
    return op.Constant(value_int=value)


TRANSLATIONS: dict[Any, Callable[..., Any]] = {
    torch_ops.involution2d._opoverload: involution2d,
    torch_ops.grad_weight._opoverload: grad_weight,
}
