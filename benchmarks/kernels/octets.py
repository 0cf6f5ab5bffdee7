"""The octets of results that the warps of a block compute by banded matrices: `bands.cuh`."""

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.kernels.occupancy import WARP
from benchmarks.kernels.shared_memory import Access, Array, loop_indices
from rednet.ops.cuda.tiles import OCTET, VECTOR_BYTES

if TYPE_CHECKING:
    from benchmarks.kernels.tiled_block import TiledBlock


class Octets:
    """What each thread reads for the octets of its warp.

    Attributes:
        row: First row of results of the warp.
        column: First column.
        number: Result whose taps a lane has.
        first: Offset of its first tap; the second one is 4 more.

    Args:
        block: The block.
        step: Pixels from the first that a result needs to that of the next one.
    """

    def __init__(self, block: "TiledBlock", step: int) -> None:
        self._block, self._step = block, step
        warp, self._lane = np.divmod(block.thread, WARP)
        row, column = np.divmod(warp, block.columns // OCTET)
        self.row, self.column = row * OCTET, column * OCTET
        self.number = self._lane // 4
        self.first = (self._lane % 4 - self.number) % 4

    @property
    def _part(self) -> int:
        """Pixels of a row and a part of the tile."""
        return self._block.columns + OCTET

    @property
    def _pitch(self) -> int:
        """Bytes from a row of the tile to the next."""
        return self._step * self._part * self._block.pixel_bytes

    def fetch(self, height: int) -> Access:
        """Copy the pixels, and zeros around them."""
        return self._block.fetch(height, self._pitch // VECTOR_BYTES, self._pitch)

    def load(self, first: int, lines: int, parts: int = 1) -> Access:
        """Load lines of pixels, from the first that a warp needs on."""
        line, part = loop_indices(lines, parts)
        lane = self._lane
        pixel = self.column + lane % 8 // 2 + lane % 2 * 4 + lane // 16 * 8
        vector = 2 * (part * self._part + pixel) + lane // 8 % 2
        vector ^= vector >> 3 & 1
        row = self.row * self._step + first + line
        return Access("LDSM", VECTOR_BYTES, row * self._pitch + vector * VECTOR_BYTES)

    def window_taps(self) -> list[Array]:
        """Return a lane's two taps of a row of a window, 0 where it has none."""
        size, stride = self._block.k, self._block.s
        taps = [self.first * stride, self.first * stride + (1 if stride == 2 else 4)]
        return [np.where(tap < size, tap, 0) for tap in taps]

    def covering(self, reach: int) -> list[Array]:
        """Return a lane's two outputs, counted from its pixel on; the last where it has none."""
        return [np.minimum(self.first + more, reach) for more in (0, 4)]
