"""Which kernel serves an operator, and on which grid: by sizes and strides alone."""

from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import NamedTuple

import torch

from rednet.ops.cuda.tiles import VECTOR_BYTES, Tile, select_tile
from rednet.ops.window import Window

MOST_TILE_ROWS = 65535
"""Blocks of a grid in its second direction."""
MOST_BLOCKS = 2**31 - 1
"""Blocks of a grid in its first direction."""
DIRECT_THREADS = 256
NARROW_BYTES = 2**31
"""Offsets inside an image are computed in 32 bits below this."""

# Kernels by their numbers in kernels/cuda/involution.cu.
OPERATORS = ("involution2d", "involution2d_grad_input", "involution2d_grad_weight")
# How a tensor lies in memory: enum Order of kernels/cuda/problem.cuh.
ALIGNED, PACKED, BY_CHANNEL, BY_COLUMN = range(4)

STORAGE = {
    torch.float32: "float",
    torch.float16: "Half",
    torch.bfloat16: "BFloat16",
    torch.float64: "double",
}


@dataclass(frozen=True)
class Kernel:
    """What is compiled.

    Attributes:
        operator: Name of the kernel.
        defines: Macros and their values.
        threads: Of a block.
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
    """Which of an operator's three tensors has the input's size, and which has the kernels."""

    image: int
    taps: int


class Geometry(NamedTuple):
    """A tensor without its values.

    Attributes:
        shape: Its sizes.
        strides: Its strides in elements.
        misalignment: Bytes from the start of a vector to its first element.
    """

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    misalignment: int


class LaunchConfig(NamedTuple):
    """All of a launch but its pointers.

    Attributes:
        kernel: The kernel.
        grid: Blocks in each direction.
        strides: Of each tensor in bytes; 0 along a dimension of one element.
        sizes: The numbers at the end of the struct Problem of `kernels/cuda/problem.cuh`.
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
    """Chooses for the two arguments of an operator and its result."""
    operands = tuple(_Operand.of(geometry, dtype.itemsize) for geometry in geometries)
    selector = _KernelSelector(operator, dtype, operands, roles, window)
    tile = selector.tile()
    kernel = selector.direct_kernel() if tile is None else selector.tiled_kernel(tile)
    grid = selector.direct_grid() if tile is None else selector.tiled_grid(tile)
    return LaunchConfig(
        kernel, grid, tuple(operand.strides for operand in operands), selector.sizes
    )


@dataclass(frozen=True)
class _Operand:
    """How a tensor lies in memory.

    Attributes:
        shape: Its sizes.
        strides: In bytes; 0 along a dimension of one element.
        misalignment: Bytes from the vector's start to its first element.
        itemsize: Bytes of an element.
    """

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    misalignment: int
    itemsize: int

    @classmethod
    def of(cls, geometry: Geometry, itemsize: int) -> "_Operand":
        sides = zip(geometry.shape, geometry.strides, strict=True)
        strides = tuple(stride * itemsize if size > 1 else 0 for size, stride in sides)
        return cls(geometry.shape, strides, geometry.misalignment, itemsize)

    @property
    def image_bytes(self) -> int:
        """From an image's first element to its last."""
        sides = zip(self.shape[1:], self.strides[1:], strict=True)
        return sum((size - 1) * stride for size, stride in sides)

    @property
    def is_packed(self) -> bool:
        """Whether channels are neighbours in memory."""
        return self.shape[1] == 1 or self.strides[1] == self.itemsize

    @property
    def pixel_order(self) -> int:
        """How images lie in memory; ALIGNED where all pixels begin with a vector."""
        batch, _, row, column = self.strides
        places = self.misalignment, batch, row, column
        is_aligned = self.is_packed and not any(place % VECTOR_BYTES for place in places)
        return ALIGNED if is_aligned else self.loose_order

    @property
    def tap_order(self) -> int:
        """How kernels lie in memory; ALIGNED where pixels are whole vectors apart."""
        _, _, row, column = self.strides
        if not self.is_packed:
            return self.loose_order
        return PACKED if row % VECTOR_BYTES or column % VECTOR_BYTES else ALIGNED

    @property
    def loose_order(self) -> int:
        _, channel, _, column = self.strides
        return BY_COLUMN if column < channel else BY_CHANNEL


@dataclass(frozen=True)
class _KernelSelector:
    """Chooses the kernel and the grid for an operator's three tensors."""

    operator: str
    dtype: torch.dtype
    operands: tuple[_Operand, ...]
    roles: Roles
    window: Window

    @property
    def groups(self) -> int:
        return self.operands[self.roles.taps].shape[1] // self.window.area

    @property
    def group_width(self) -> int:
        return self.operands[self.roles.image].shape[1] // self.groups

    @property
    def phases(self) -> int:
        """Interleaved parts, in either direction, in which the result is computed."""
        return self.window.stride if self.roles.image == 2 else 1

    @property
    def sizes(self) -> tuple[int, ...]:
        """The numbers at the end of the struct Problem."""
        batch, channels, height, width = self.operands[self.roles.image].shape
        output = self.operands[self.roles.taps].shape[2:]
        return batch, channels, self.groups, height, width, *output, self.window.padding

    def tile(self) -> Tile | None:
        """The tile; None where there is none, or its grid would be too large."""
        width = -(-self.operands[2].shape[3] // self.phases)
        tile = select_tile(self.operator, width, self.group_width, self.dtype.itemsize, self.window)
        if tile is None:
            return None
        x, y, _ = self.tiled_grid(tile)
        return tile if x <= MOST_BLOCKS and y <= MOST_TILE_ROWS else None

    def tiled_grid(self, tile: Tile) -> tuple[int, int, int]:
        batch, _, height, width = self.operands[2].shape
        rows = self.blocks(height, tile.rows)
        columns = self.blocks(width, tile.columns)
        return self.groups * columns, rows, batch

    def blocks(self, size: int, pixels: int) -> int:
        """Blocks along a side: of every phase, but for phases that have no pixel."""
        return min(size, -(-size // (self.phases * pixels)) * self.phases)

    def direct_grid(self) -> tuple[int, int, int]:
        blocks = -(-prod(self.operands[2].shape) // DIRECT_THREADS)
        return min(blocks, MOST_BLOCKS), 1, 1

    def tiled_kernel(self, tile: Tile) -> Kernel:
        orders = [self.order(index, tile) for index in range(3)]
        defines = {
            **self.defines(tile.threads),
            "TILED": 1,
            **tile.defines,
            **dict(zip(("FIRST_ORDER", "SECOND_ORDER", "RESULT_ORDER"), orders, strict=True)),
            "WIDE_INDEX": int(any(map(self.is_wide, self.operands))),
        }
        return Kernel(self.operator, tuple(defines.items()), tile.threads, tile.shared_bytes)

    def is_wide(self, operand: _Operand) -> bool:
        """Whether offsets need 64 bits: in an image, and as far beyond it as a window reaches."""
        reach = self.window.kernel_size * self.window.dilation * operand.strides[2]
        return operand.image_bytes + reach >= NARROW_BYTES

    def order(self, index: int, tile: Tile) -> int:
        operand = self.operands[index]
        if index == self.roles.taps:
            return operand.tap_order
        is_whole = tile.channels * operand.itemsize % VECTOR_BYTES == 0
        return operand.pixel_order if is_whole else operand.loose_order

    def direct_kernel(self) -> Kernel:
        defines = {
            **self.defines(DIRECT_THREADS),
            "TILED": 0,
            "RESULT_ORDER": self.operands[2].loose_order,
            "WIDE_INDEX": 1,
        }
        return Kernel(self.operator, tuple(defines.items()), DIRECT_THREADS, 0)

    def defines(self, threads: int) -> dict[str, str | int]:
        """The macros of both kinds of kernel."""
        return {
            "OPERATOR": OPERATORS.index(self.operator),
            "STORAGE": STORAGE[self.dtype],
            "KERNEL_SIZE": self.window.kernel_size,
            "STRIDE": self.window.stride,
            "DILATION": self.window.dilation,
            "GROUP_WIDTH": self.group_width,
            "BLOCK_THREADS": threads,
        }
