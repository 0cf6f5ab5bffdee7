"""The kernel that serves an operator, and its grid, selected by sizes and strides alone."""

from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import NamedTuple

import torch

from rednet.ops.cuda.operand import Geometry, Operand
from rednet.ops.cuda.tiles import VECTOR_BYTES, Tile, select_tile
from rednet.ops.window import Window

MAX_GRID_X = 2**31 - 1
MAX_GRID_Y = 65535
DIRECT_THREADS = 256
"""Threads of a block of the direct kernels."""
NARROW_BYTES = 2**31
"""Images of fewer bytes have 32-bit offsets."""

# In the order of their numbers in kernels/cuda/config.cuh.
OPERATORS = ("involution2d", "involution2d_grad_input", "involution2d_grad_weight")
SPAN_OPERATORS = ("span_involution2d", "span_grad_input", "span_gradients")
GRADIENT_OPERATORS = ("span_grad_reduced", "span_grad_weight")
_ALL = (*OPERATORS, *SPAN_OPERATORS, *GRADIENT_OPERATORS)
_NUMBERS = {name: number for number, name in enumerate(_ALL)}

STORAGE = {
    torch.float32: "float",
    torch.float16: "Half",
    torch.bfloat16: "BFloat16",
    torch.float64: "double",
}
"""The types of the elements in `kernels/cuda`."""


@dataclass(frozen=True)
class Kernel:
    """A kernel to compile.

    Attributes:
        operator: Name of the kernel's function.
        defines: Macros and their values.
        threads: Threads of a block.
        shared_bytes: Shared memory of a block.
    """

    operator: str
    defines: tuple[tuple[str, str | int], ...]
    threads: int
    shared_bytes: int

    @property
    def options(self) -> tuple[str, ...]:
        """Options of the compiler."""
        return ("--std=c++17", *(f"-D{name}={value}" for name, value in self.defines))


class Roles(NamedTuple):
    """The positions, among an operator's three tensors, of the image and of the weight.

    Attributes:
        image: Position of the tensor of the input's size.
        taps: Position of the tensor of the weight's size.
    """

    image: int
    taps: int


class LaunchConfig(NamedTuple):
    """A launch without the tensors' addresses.

    Attributes:
        kernel: The kernel.
        grid: Blocks in x, y and z.
        strides: Strides of each tensor in bytes; 0 along a dimension of one element.
        sizes: The last members of struct Problem in `kernels/cuda/problem.cuh`.
    """

    kernel: Kernel
    grid: tuple[int, int, int]
    strides: tuple[tuple[int, ...], ...]
    sizes: tuple[int, ...]


@lru_cache(maxsize=4096)
def select_kernel(
    operator: str,
    dtype: torch.dtype,
    geometries: tuple[Geometry, ...],
    roles: Roles,
    window: Window,
) -> LaunchConfig:
    """Select kernel and grid for the two arguments of an operator and its result."""
    operands = tuple(Operand.of(geometry, dtype.itemsize) for geometry in geometries)
    selector = KernelSelector(operator, dtype, operands, roles, window)
    tile = selector.tile()
    kernel = selector.direct_kernel() if tile is None else selector.tiled_kernel(tile)
    grid = selector.direct_grid() if tile is None else selector.tiled_grid(tile)
    strides = tuple(operand.strides for operand in operands)
    return LaunchConfig(kernel, grid, strides, selector.sizes)


@dataclass(frozen=True)
class KernelSelector:
    """Selects the kernel and the grid for an operator's three tensors, the result last."""

    operator: str
    dtype: torch.dtype
    operands: tuple[Operand, ...]
    roles: Roles
    window: Window

    @property
    def groups(self) -> int:
        """Groups G."""
        return self.operands[self.roles.taps].shape[1] // self.window.area

    @property
    def group_width(self) -> int:
        """Channels of a group."""
        return self.operands[self.roles.image].shape[1] // self.groups

    @property
    def phases(self) -> int:
        """Interleaved parts, in each direction, in which the result is computed."""
        return self.window.stride if self.roles.image == 2 else 1

    @property
    def sizes(self) -> tuple[int, ...]:
        """The last members of struct Problem."""
        batch, channels, height, width = self.operands[self.roles.image].shape
        output = self.operands[self.roles.taps].shape[2:]
        return batch, channels, self.groups, height, width, *output, self.window.padding

    def tile(self) -> Tile | None:
        """Return the tile, or None if no tile fits or its grid would be too large."""
        width = -(-self.operands[2].shape[3] // self.phases)
        tile = select_tile(self.operator, width, self.group_width, self.dtype.itemsize, self.window)
        if tile is None:
            return None
        x, y, _ = self.tiled_grid(tile)
        return tile if x <= MAX_GRID_X and y <= MAX_GRID_Y else None

    def tiled_grid(self, tile: Tile) -> tuple[int, int, int]:
        """Return the blocks in x, y and z of a tiled kernel."""
        batch, _, height, width = self.operands[2].shape
        rows = self.blocks(height, tile.rows)
        columns = self.blocks(width, tile.columns)
        return self.groups * columns, rows, batch

    def blocks(self, size: int, pixels: int) -> int:
        """Return the blocks along a side, over all phases that have a pixel."""
        return min(size, -(-size // (self.phases * pixels)) * self.phases)

    def direct_grid(self) -> tuple[int, int, int]:
        """Return the blocks in x, y and z of a direct kernel."""
        blocks = -(-prod(self.operands[2].shape) // DIRECT_THREADS)
        return min(blocks, MAX_GRID_X), 1, 1

    def tiled_kernel(self, tile: Tile) -> Kernel:
        """Return the kernel that computes a tile per block."""
        orders = [self.order(index, tile) for index in range(3)]
        defines = {
            **self.defines(tile.threads),
            "TILED": 1,
            **tile.defines,
            **dict(zip(("FIRST_ORDER", "SECOND_ORDER", "RESULT_ORDER"), orders, strict=True)),
            "WIDE_INDEX": int(any(map(self.is_wide, self.operands))),
        }
        return Kernel(self.operator, tuple(defines.items()), tile.threads, tile.shared_bytes)

    def is_wide(self, operand: Operand) -> bool:
        """Return whether offsets need 64 bits, also where a window reaches beyond the image."""
        reach = self.window.kernel_size * self.window.dilation * operand.strides[2]
        return operand.image_bytes + reach >= NARROW_BYTES

    def order(self, index: int, tile: Tile) -> int:
        """Return the order in which a tiled kernel accesses a tensor."""
        operand = self.operands[index]
        if index == self.roles.taps:
            return operand.tap_order
        # Otherwise a chunk of channels would end inside a vector.
        is_whole = tile.channels * operand.itemsize % VECTOR_BYTES == 0
        return operand.pixel_order if is_whole else operand.loose_order

    def direct_kernel(self) -> Kernel:
        """Return the kernel without tiles."""
        defines = {
            **self.defines(DIRECT_THREADS),
            "TILED": 0,
            "RESULT_ORDER": self.operands[2].loose_order,
            "WIDE_INDEX": 1,
        }
        return Kernel(self.operator, tuple(defines.items()), DIRECT_THREADS, 0)

    def defines(self, threads: int) -> dict[str, str | int]:
        """Return the macros that both kinds of kernel have."""
        return {
            "OPERATOR": _NUMBERS[self.operator],
            "STORAGE": STORAGE[self.dtype],
            "KERNEL_SIZE": self.window.kernel_size,
            "STRIDE": self.window.stride,
            "DILATION": self.window.dilation,
            "GROUP_WIDTH": self.group_width,
            "BLOCK_THREADS": threads,
        }
