"""The shared-memory accesses of a block that makes its taps by a span, address by address.

This repeats the arithmetic of `span_taps.cuh`, `span_matrix.cuh`, `span_product.cuh` and
`bands.cuh` in `kernels/cuda`, under the conditions that `tiled_block.py` names. Only sizes matter:
taps are kept at places that depend neither on the group nor on the phase.
"""

from collections.abc import Iterator
from math import ceil

import numpy as np

from benchmarks.kernels.occupancy import WARP
from benchmarks.kernels.octets import Octets
from benchmarks.kernels.shared_memory import INACTIVE, Access, Array, loop_indices
from benchmarks.kernels.tiled_block import TiledBlock
from benchmarks.layers import Layer
from rednet.ops.cuda.launch_config import Kernel
from rednet.ops.cuda.span_tiles import slot_elements, span_pitch
from rednet.ops.cuda.tiles import OCTET, VECTOR_BYTES, pixel_pitch


class SpanBlock(TiledBlock):
    """A block; its attributes have the names of the constants of the sources.

    Args:
        kernel: The kernel, `span_involution2d` or `span_grad_input`.
        layer: The layer that it computes.
        itemsize: Bytes of an element.
        has_tensor_cores: Whether the architecture has those that the kernel uses.
    """

    def __init__(self, kernel: Kernel, layer: Layer, itemsize: int, has_tensor_cores: bool) -> None:
        super().__init__(kernel, layer, itemsize)
        self.is_grad_input = kernel.operator == "span_grad_input"
        self.count = ceil(self.k / self.s) if self.is_grad_input else self.k
        self.reach = self.count - 1 if self.is_grad_input else 0
        self.height, self.width = self.rows + self.reach, self.columns + self.reach
        self.depth = dict(kernel.defines)["REDUCED_CHANNELS"]
        self.warps = kernel.threads // WARP
        self.is_matrix = has_tensor_cores and itemsize == 2 and kernel.threads % WARP == 0
        self.is_banded = self.is_banded and has_tensor_cores
        self.slot = slot_elements(self.count, itemsize)
        if self.is_banded and not self.is_grad_input:
            self.slot = OCTET
        self.by_output = self.is_grad_input and itemsize == 2
        self.tap_columns = self.width if self.by_output else self.columns
        self.pitch = span_pitch(self.tap_columns, self.slot, self.by_output)
        is_long = self.depth == 64 or (self.depth > 64 and (self.s == 1 or not self.reach))
        self.batch_rows = 4 if is_long else 2
        self.batches = ceil(self.height / self.batch_rows) * ceil(self.width / 8)
        self.team = ceil(self.rows * self.width / 4)

    @property
    def rounds(self) -> tuple[float, int]:
        """Rounds of a warp's loop over outputs, in the mean, and of the loop in it, over D.

        So many rounds are counted of the loop that announces the outputs, too, which has fewer.
        """
        if self.is_matrix:
            at_once = 4 if self.depth <= 16 else 1
            return self.batches / self.warps / at_once, ceil(self.depth / 32)
        items, threads = self.count * self.team, len(self.thread)
        turns = [ceil((items - first) / threads) for first in range(0, threads, WARP)]
        return sum(turns) / len(turns), ceil(self.depth * self.itemsize / VECTOR_BYTES)

    def accesses(self) -> Iterator[Access]:
        """Yield all accesses to shared memory."""
        yield from self._matrix_stores() if self.is_matrix else self._product_stores()
        yield from self._band_loads() if self.is_banded else self._strip_loads()

    def _strip_loads(self) -> Iterator[Access]:
        """Fetch pixels, and load pixels and taps for strips of results."""
        row, column, channel = self._place()
        if self.is_grad_input:
            yield self._fetch_pixels(self.height, self.width)
            i, x = loop_indices(self.count, self.strip + self.reach)
            pitch = pixel_pitch(self.width, self.pixel_bytes, 1)
            yield self._load(pitch, row + self.reach - i, column + x, channel)
        else:
            yield self._fetch_pixels(self.seen_rows, self.seen_columns, self.s)
            i, x = loop_indices(self.k, self.seen_by_strip)
            pitch = pixel_pitch(self.seen_columns, self.pixel_bytes, self.s)
            yield self._load(pitch, row * self.s + i, column * self.s + x, channel)
        if self.by_output:
            i, strip, j = loop_indices(self.count, self.strip, self.count)
            x = column + self.reach + strip - j
            yield Access("LDS", 2, self._slot(i, row, x) + j * 2)
        else:
            size = min(VECTOR_BYTES, self.slot * 2) if self.itemsize == 2 else self.itemsize
            parts = self.slot * self.itemsize // size
            i, strip, part = loop_indices(self.count, self.strip, parts)
            yield Access("LDS", size, self._slot(i, row, column + strip) + part * size)

    def _band_loads(self) -> Iterator[Access]:
        """Fetch pixels, and load pixels and taps for octets of results."""
        octets = Octets(self, 1 if self.is_grad_input else self.s)
        row, column = octets.row, octets.column + octets.number
        yield octets.fetch(self.height if self.is_grad_input else self.seen_rows)
        i, y = loop_indices(self.count, OCTET)
        if self.is_grad_input:
            yield octets.load(0, OCTET - 1 + self.count)
            for output in octets.covering(self.reach):
                tap = self.reach - output
                element = tap % 4 * 2 + tap // 4 if self.slot == OCTET else tap
                yield Access("LDS", 2, self._slot(i, row + y, column + output) + 2 * element)
        else:
            yield octets.load(0, (OCTET - 1) * self.s + self.k, min(self.s, self.k))
            yield Access("LDS", 4, self._slot(i, row + y, column) + 4 * octets.first)

    def _slot(self, i: Array, y: Array, x: Array) -> Array:
        """Return the address of row i of the taps of a pixel."""
        return ((i * self.rows + y) * self.pitch + x * self.slot) * self.itemsize

    def _matrix_stores(self) -> Iterator[Access]:
        """Store pairs of the taps of octets of outputs."""
        turns = ceil(self.batches / self.warps)
        turn, row, i = loop_indices(turns, self.batch_rows, self.count)
        batch, octets = turn * self.warps + self.thread // WARP, ceil(self.width / 8)
        y, x = batch // octets * self.batch_rows + row, batch % octets * 8 + self.thread % WARP // 4
        j = 2 * (self.thread % 4)
        is_used = (y < self.height) & (x < self.width) & (j < self.slot)
        yield self._store(4, i, y - self.reach + i if self.reach else y, x, j, is_used)

    def _product_stores(self) -> Iterator[Access]:
        """Store rows of taps of four outputs, which lie far apart."""
        turns = ceil(self.count * self.team / len(self.thread))
        turn, pixel, j = loop_indices(turns, 4, self.count)
        item = turn * len(self.thread) + self.thread
        i, number = item // self.team, item % self.team + pixel * self.team
        y, x = number // self.width, number % self.width
        is_used = (i < self.count) & (number < self.rows * self.width)
        if (
            self.reach and not self.by_output
        ):  # the outputs' rows are counted from those that row i needs
            x = x - self.reach + j
        yield self._store(self.itemsize, i, y, x, j, is_used)

    def _store(self, size: int, i: Array, y: Array, x: Array, j: Array, is_used: Array) -> Access:
        is_pixel = (y >= 0) & (y < self.rows) & (x >= 0) & (x < self.tap_columns)
        address = self._slot(i, y, x) + j * self.itemsize
        return Access("STS", size, np.where(is_used & is_pixel, address, INACTIVE))
