"""The tile of taps of a block, and its accesses."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.kernels.shared_memory import INACTIVE, Access, Array, loop_indices
from rednet.ops.cuda.tiles import VECTOR_BYTES

if TYPE_CHECKING:
    from benchmarks.kernels.tiled_block import TiledBlock


@dataclass(frozen=True)
class TapTile:
    """`TapTile` of `taps.cuh`, with as many rows as the block.

    Attributes:
        block: The block.
        width: Pixels of a row.
        count: Taps of a pixel.
    """

    block: "TiledBlock"
    width: int
    count: int

    @property
    def vectors(self) -> int:
        """Vectors of a pixel's slot."""
        return ((self.count - 1) * self.block.itemsize + 2 * VECTOR_BYTES - 1) // VECTOR_BYTES

    @property
    def pitch(self) -> int:
        """Bytes from a row to the next."""
        return -(-(self.width * self.vectors * VECTOR_BYTES - 16) // 128) * 128 + 16

    def shift(self, tap: int, y: Array, x: Array) -> Array:
        """Return the bytes from the start of a slot to its first tap, for pixels of the image."""
        layer, area = self.block.layer, self.block.k**2
        pixel = (y * layer.out_size + x) * layer.weight_shape[0]
        return (pixel + self.block.group * area + tap) * self.block.itemsize % VECTOR_BYTES

    def access(
        self,
        opcode: str,
        row: Array,
        column: Array,
        tap: Array,
        shift: Array,
        is_used: Array | bool = True,
    ) -> Access:
        """Return the access to a tap per thread, where it is used."""
        slot = row * self.pitch + column * self.vectors * VECTOR_BYTES
        address = slot + shift + tap * self.block.itemsize
        return Access(opcode, self.block.itemsize, np.where(is_used, address, INACTIVE))

    def fetch(self) -> Access:
        """Copy the tile from global memory."""
        return self.block.fetch(self.block.rows, self.width * self.vectors, self.pitch)

    def send(self) -> Iterator[Access]:
        """Load what is written to global memory."""
        if self.count * self.block.itemsize >= 64:
            yield self._send_vectors()
            yield self._send_ends()
        else:
            row, column, tap, is_item = self._items(self.count)
            yield self.access("LDS", row, column, tap, self.shift(0, row, column), is_item)

    def _send_vectors(self) -> Access:
        row, column, vector, is_item = self._items(self.vectors)
        first = vector * VECTOR_BYTES - self.shift(0, row, column)
        is_whole = (first >= 0) & (first + VECTOR_BYTES <= self.count * self.block.itemsize)
        address = row * self.pitch + (column * self.vectors + vector) * VECTOR_BYTES
        return Access("LDS", VECTOR_BYTES, np.where(is_item & is_whole, address, INACTIVE))

    def _send_ends(self) -> Access:
        pack = VECTOR_BYTES // self.block.itemsize
        row, column, end, is_item = self._items(2 * (pack - 1))
        shift = self.shift(0, row, column)
        before = -shift % VECTOR_BYTES // self.block.itemsize
        behind = (self.count - before) // pack * pack + before
        is_front = end < pack - 1
        tap = np.where(is_front, end, behind + end - (pack - 1))
        is_end = tap < np.where(is_front, before, self.count)
        return self.access("LDS", row, column, tap, shift, is_item & is_end)

    def _items(self, per_pixel: int) -> tuple[Array, Array, Array, Array]:
        """Deal items to the threads: return row, column, index, and whether the tile has it."""
        threads = len(self.block.thread)
        (turn,) = loop_indices(-(-self.block.rows * self.width * per_pixel // threads))
        pixel, item = np.divmod(turn * threads + self.block.thread, per_pixel)
        row, column = np.divmod(pixel, self.width)
        return row, column, item, row < self.block.rows
