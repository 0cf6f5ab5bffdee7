"""Plans launches of the kernel of a span's three gradients.

A block has a chunk of the groups, and every so many-th tile of all images. Its sums for weight and
bias go to a workspace, as do its gradients of the reduced images if there are several chunks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from math import gcd
from struct import Struct
from typing import NamedTuple

import torch
from torch import Tensor

from rednet.ops.cuda.launch_config import Kernel, KernelSelector, LaunchConfig, Roles
from rednet.ops.cuda.operand import ALIGNED, Geometry, Operand
from rednet.ops.cuda.plan import Launch, geometry_of, pack_problem
from rednet.ops.cuda.span_plan import has_vectors
from rednet.ops.cuda.tiles import (
    MAX_CHANNELS,
    MAX_THREADS,
    MIN_THREADS,
    SHARED_BYTES,
    SIZES,
    STRIP,
    VECTOR_BYTES,
    Tile,
    pixel_bytes,
    round_up,
)
from rednet.ops.span_sizes import SpanSizes
from rednet.ops.window import Window

OPERATOR = "span_gradients"
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
BLOCKS = 512
"""Blocks of a launch, or a few less: four on each of an H100's multiprocessors."""
MAX_KERNEL_SIZE = 7
MAX_PIXEL_SUMS = 32
"""Registers of a thread for the gradient of the reduced images."""
WARP = 32
ORDINARY_WIDTH = 56
"""Pixels of a row of the input, where no tensor says how many there are."""

_pack_rest = Struct("Q4qQ2qQq").pack


class Division(NamedTuple):
    """The division of the work among blocks.

    Attributes:
        tile: The tile of pixels that a block computes at a time.
        chunk: Groups of a block.
    """

    tile: Tile
    chunk: int


def unavailable_reason(
    sizes: SpanSizes, dtype: torch.dtype, tensors: Sequence[Tensor]
) -> str | None:
    """Return why the kernel cannot run, or None if it can.

    Args:
        sizes: Sizes of the layer.
        dtype: Dtype of all tensors.
        tensors: Gradient of the output, input, reduced images and weight; or none.
    """
    if dtype not in DTYPES:
        return f"its gradients are made in float32, float16 and bfloat16, not in {dtype}"
    if any(tensor.numel() == 0 for tensor in tensors):
        return "the images are empty"
    width = tensors[0].shape[3] if tensors else -(-ORDINARY_WIDTH // sizes.window.stride)
    if divide(width, sizes, dtype.itemsize) is None:
        return (
            f"{sizes.reduced_channels} reduced channels, {sizes.groups} groups of "
            f"{sizes.channels // sizes.groups} channels and a window of {sizes.window} fit no "
            "block, or stored kernels move less memory"
        )
    return None


def plan_span_gradients(
    tensors: tuple[Tensor, Tensor, Tensor], weight: Tensor, window: Window
) -> tuple[Launch, Tensor, Tensor]:
    """Plan a launch for the output's gradient, the input and the reduced images.

    Returns:
        The launch; what it writes: the gradient (N, D, Ho, Wo) of the reduced images, or in float32
        parts (parts, N, D, Ho, Wo) of it to be added; and parts (parts, G*K*K, D + 1) in float32
        of the gradients of weight and bias, the last column.
    """
    reduced = tensors[2]
    geometries = tuple(map(geometry_of, tensors))
    config = select_kernel(reduced.dtype, geometries, geometry_of(weight), window)
    blocks, parts, _ = config.grid
    result = torch.empty_like(reduced)
    if parts > 1:
        images, depth, height, width = reduced.shape
        result = reduced.new_empty((parts, images, height, width, depth), dtype=torch.float32)
        result = result.permute(0, 1, 4, 2, 3)
    sums = reduced.new_empty((blocks, weight.shape[0], weight.shape[1] + 1), dtype=torch.float32)
    whole = result if parts == 1 else result[0]
    itemsize = result.element_size()
    strides = tuple(stride * itemsize for stride in whole.stride())
    config = config._replace(strides=(*config.strides[:2], strides))
    problem = pack_problem(config, (*tensors[:2], whole))
    problem += _pack_rest(
        *(reduced.data_ptr(), *(stride * reduced.element_size() for stride in reduced.stride())),
        *(weight.data_ptr(), *(stride * weight.element_size() for stride in weight.stride()[:2])),
        *(sums.data_ptr(), result.stride(0) * itemsize),
    )
    return Launch(config.kernel, config.grid, problem), result, sums


@lru_cache(maxsize=4096)
def select_kernel(
    dtype: torch.dtype, geometries: tuple[Geometry, ...], weight: Geometry, window: Window
) -> LaunchConfig:
    """Select kernel and grid for the output's gradient, the input and the reduced images.

    Raises:
        ValueError: No tile fits; see `divide`.
    """
    operands = tuple(Operand.of(geometry, dtype.itemsize) for geometry in geometries)
    groups = weight.shape[0] // window.area
    sizes = SpanSizes(operands[1].shape[1], groups, weight.shape[1], window)
    division = divide(operands[0].shape[3], sizes, dtype.itemsize)
    if division is None:
        raise ValueError(f"no tile of {OPERATOR} fits {sizes}")
    is_vector = has_vectors(operands[2], weight)
    selector = _Selector(
        *(OPERATOR, dtype, operands, Roles(image=1, taps=2), window), division, sizes, is_vector
    )
    strides = tuple(operand.strides for operand in operands)
    return LaunchConfig(selector.kernel(), selector.grid(), strides, selector.sizes)


@dataclass(frozen=True)
class _Selector(KernelSelector):
    """Selects the kernel and the grid for the output's gradient, the input and reduced images.

    Attributes:
        division: The division of the work.
        layer: Sizes of the layer.
        has_vectors: Whether reduced images and weight can be read in vectors.
    """

    division: Division
    layer: SpanSizes
    has_vectors: bool

    @property
    def groups(self) -> int:
        return self.layer.groups

    def order(self, index: int, tile: Tile) -> int:
        if index != self.roles.taps:
            return super().order(index, tile)
        return ALIGNED if self.has_vectors else self.operands[index].loose_order

    def kernel(self) -> Kernel:
        kernel = self.tiled_kernel(self.division.tile)
        defines = {
            "REDUCED_CHANNELS": self.layer.reduced_channels,
            "GROUP_CHUNK": self.division.chunk,
            "RESULT_IS_FLOAT": int(self.division.chunk < self.groups),
        }
        return replace(kernel, defines=(*kernel.defines, *defines.items()))

    def grid(self) -> tuple[int, int, int]:
        tile, parts = self.division.tile, self.groups // self.division.chunk
        images, _, height, width = self.operands[0].shape
        tiles = images * -(-height // tile.rows) * -(-width // tile.columns)
        return min(tiles, max(1, BLOCKS // parts)), parts, 1


@cache
def divide(width: int, sizes: SpanSizes, itemsize: int) -> Division | None:
    """Return the largest tile and, for it, the most groups of a block; None if nothing fits.

    The gradient of the reduced images is stored for each chunk of groups. Where that moves half
    as much memory as stored kernels would, the kernel is not worth it.

    Args:
        width: Pixels in a row of the output.
        sizes: Sizes of the layer.
        itemsize: Bytes of an element.
    """
    window, channels = sizes.window, gcd(sizes.channels // sizes.groups, MAX_CHANNELS)
    if window.kernel_size > MAX_KERNEL_SIZE:
        return None
    thread_channels = min(channels, VECTOR_BYTES // itemsize, 4)
    for rows, columns in SIZES:
        threads = _threads(rows, columns, window.kernel_size)
        too_wide = columns >= 2 * width and threads >= 2 * MIN_THREADS
        if rows * columns % 32 or threads > MAX_THREADS or too_wide:
            continue
        sixteens = max(1, rows * columns // 16 // (threads // WARP))  # of pixels, of a warp
        if sixteens * round_up(sizes.reduced_channels, 16) // 2 > MAX_PIXEL_SUMS:
            continue
        for chunk in range(sizes.groups, 0, -1):
            shared = _shared_bytes(rows, columns, channels * itemsize, chunk, itemsize, sizes)
            if sizes.groups % chunk or shared > SHARED_BYTES:
                continue
            if _moves_less(chunk, sizes, itemsize):
                tile = Tile(rows, columns, channels, thread_channels, threads, shared)
                return Division(tile, chunk)
            break
    return None


def _threads(rows: int, columns: int, kernel_size: int) -> int:
    """Return the threads that sum a tile's taps, in warps that share its pixels evenly."""
    warps = -(-rows * columns // STRIP * kernel_size // WARP)
    return WARP << (warps - 1).bit_length()


def _moves_less(chunk: int, sizes: SpanSizes, itemsize: int) -> bool:
    """Return whether the parts of a pixel move at most half the bytes of its stored kernel."""
    parts = sizes.groups // chunk
    moved = 0 if parts == 1 else 2 * parts * sizes.reduced_channels * 4
    stored = 4 * sizes.groups * sizes.window.area * itemsize
    return moved <= stored / 2


def _shared_bytes(
    rows: int, columns: int, pixel: int, chunk: int, itemsize: int, sizes: SpanSizes
) -> int:
    """Return the shared memory of a block whose pixels have `pixel` bytes of channels."""
    window, pixels = sizes.window, rows * columns
    reach = window.dilation * (window.kernel_size - 1) + 1
    height, width = (rows - 1) * window.stride + reach, (columns - 1) * window.stride + reach
    fetched = pixel_bytes(height, width, pixel, window.stride) + pixel_bytes(rows, columns, pixel)
    tap_row = pixels * itemsize + VECTOR_BYTES
    depth_row = round_up(sizes.reduced_channels, 16) * itemsize + VECTOR_BYTES
    tap_rows = round_up(window.area, 16)
    begin = round_up(max(0, fetched - window.area * tap_row), VECTOR_BYTES)
    sums = 4 * chunk * (sizes.reduced_channels + 1) * round_up(window.area, 8)
    return begin + tap_rows * tap_row + (pixels + tap_rows) * depth_row + sums
