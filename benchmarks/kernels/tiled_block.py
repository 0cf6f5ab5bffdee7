"""The shared-memory accesses of a block of a tiled kernel, address by address.

This repeats the arithmetic of `kernels/cuda`: which thread does what (`tiles.cuh`, `bands.cuh` and
the three operators), and where a tile keeps pixels and taps (`pixels.cuh`, `taps.cuh`). It holds
for channels_last tensors without dilation, on sm_80 and later, and for a block whose pixels all lie
inside the image. Addresses count from the start of a tile, a multiple of 16 bytes: a common offset
changes no bank conflict.

Indices of instructions are columns (instructions, 1), those of threads are rows (threads,).
"""

from collections.abc import Iterator
from itertools import product

import numpy as np

from benchmarks.kernels.octets import Octets
from benchmarks.kernels.shared_memory import INACTIVE, Access, Array, loop_indices
from benchmarks.kernels.tap_tile import TapTile
from benchmarks.layers import Layer
from rednet.ops.cuda.launch_config import Kernel
from rednet.ops.cuda.tiles import VECTOR_BYTES, has_bands, pixel_pitch


def wavefronts_per_block(kernel: Kernel, layer: Layer, itemsize: int) -> float:
    """Return the shared-memory wavefronts of a block, the mean over groups and phases."""
    # Taps begin at other bytes of a vector in every group, periodically.
    groups = range(min(layer.channels // layer.group_channels, VECTOR_BYTES // itemsize))
    phases = range(layer.stride if kernel.operator == "involution2d_grad_input" else 1)
    places = product(groups, product(phases, repeat=2))
    blocks = [TiledBlock(kernel, layer, itemsize, *place) for place in places]
    return sum(access.wavefronts for block in blocks for access in block.accesses()) / len(blocks)


class TiledBlock:
    """A block; its attributes have the names of the constants of `tiles.cuh`.

    Args:
        kernel: The kernel.
        layer: The layer that it computes.
        itemsize: Bytes of an element.
        group: Index of the block's group.
        phases: Indices of its row's and column's phase; 0 unless it is of the input's gradient.
    """

    def __init__(
        self,
        kernel: Kernel,
        layer: Layer,
        itemsize: int,
        group: int = 0,
        phases: tuple[int, int] = (0, 0),
    ) -> None:
        macros = {name: int(value) for name, value in kernel.defines if name != "STORAGE"}
        if macros["GROUP_WIDTH"] != macros["TILE_CHANNELS"] or macros["DILATION"] != 1:
            raise ValueError(f"{layer.name}: wider groups than tiles and dilation are not modelled")
        self.operator, self.layer, self.itemsize = kernel.operator, layer, itemsize
        self.group, self.phases = group, phases
        self.k, self.s = macros["KERNEL_SIZE"], macros["STRIDE"]
        self.rows, self.columns = macros["TILE_ROWS"], macros["TILE_COLUMNS"]
        self.strip, self.thread_channels = macros["STRIP_COLUMNS"], macros["THREAD_CHANNELS"]
        self.lanes = macros["TILE_CHANNELS"] // self.thread_channels
        self.pixel_bytes = macros["TILE_CHANNELS"] * itemsize
        self.thread = np.arange(kernel.threads)
        self.seen_rows = (self.rows - 1) * self.s + self.k
        self.seen_columns = (self.columns - 1) * self.s + self.k
        self.seen_by_strip = (self.strip - 1) * self.s + self.k
        sizes = self.rows, self.columns, macros["TILE_CHANNELS"], itemsize, layer.window
        self.is_banded = has_bands(kernel.operator, *sizes)

    def accesses(self) -> Iterator[Access]:
        """Yield all accesses to shared memory."""
        if self.operator == "involution2d":
            return self._forward()
        return self._grad_input() if self.operator.endswith("input") else self._grad_weight()

    def _forward(self) -> Iterator[Access]:
        taps = TapTile(self, self.columns, self.k**2)
        row, column, channel = self._place()
        yield taps.fetch()
        if self.is_banded:
            yield from self._forward_of_octets(taps)
            return
        yield self._fetch_pixels(self.seen_rows, self.seen_columns, self.s)
        y, x = loop_indices(self.k, self.seen_by_strip)
        pitch = pixel_pitch(self.seen_columns, self.pixel_bytes, self.s)
        yield self._load(pitch, row * self.s + y, column * self.s + x, channel)
        i, tap = loop_indices(self.strip, self.k**2)
        yield taps.access("LDS", row, column + i, tap, taps.shift(0, row, column + i))

    def _forward_of_octets(self, taps: TapTile) -> Iterator[Access]:
        octets = Octets(self, self.s)
        yield octets.fetch(self.seen_rows)
        yield octets.load(0, 7 * self.s + self.k, min(self.s, self.k))
        i, y = loop_indices(self.k, 8)
        row, column = octets.row + y, octets.column + octets.number
        for tap in octets.window_taps():
            shift = taps.shift(0, row, column)
            yield taps.access("LDS", row, column, i * self.k + tap, shift)

    def _grad_input(self) -> Iterator[Access]:
        reach = -(-self.k // self.s) - 1
        width = self.columns + reach
        taps = TapTile(self, width, self.k)
        row, column, channel = self._place()
        (first_row, top), (first_tap, left) = map(self._start, self.phases)
        if self.is_banded:
            yield from self._grad_input_of_octets(taps, reach)
            return
        yield self._fetch_pixels(self.rows + reach, width)
        (x,) = loop_indices(self.strip + reach)
        i, meeting = loop_indices(self.strip, reach + 1)
        tap = first_tap + meeting * self.s
        i, meeting, tap = (index[tap < self.k].reshape(-1, 1) for index in (i, meeting, tap))
        tap_column = column + reach + i - meeting
        for turn, tap_row in enumerate(range(first_row, self.k, self.s)):
            yield taps.fetch()
            pitch = pixel_pitch(width, self.pixel_bytes, 1)
            yield self._load(pitch, row + reach - turn, column + x, channel)
            shift = taps.shift(tap_row * self.k, top - turn + row, left - reach + tap_column)
            yield taps.access("LDS", row, tap_column, tap, shift)

    def _grad_input_of_octets(self, taps: TapTile, reach: int) -> Iterator[Access]:
        octets = Octets(self, 1)
        (first_row, top), (first_tap, left) = map(self._start, self.phases)
        yield octets.fetch(self.rows + reach)
        (y,) = loop_indices(8)
        for turn, tap_row in enumerate(range(first_row, self.k, self.s)):
            yield taps.fetch()
            yield octets.load(reach - turn, 1 if turn else 8)
            for output in octets.covering(reach):
                row, column = octets.row + y, octets.column + octets.number + output
                tap = first_tap + (reach - output) * self.s
                tap = np.where(tap < self.k, tap, 0)
                shift = taps.shift(tap_row * self.k, top - turn + row, left - reach + column)
                yield taps.access("LDS", row, column, tap, shift)

    def _grad_weight(self) -> Iterator[Access]:
        taps = TapTile(self, self.columns, self.k**2)
        strips = self.columns // self.strip
        window_row, position = np.divmod(self.thread, self.rows * strips)
        row, column = position // strips, position % strips * self.strip
        yield self._fetch_pixels(self.rows, self.columns)
        yield self._fetch_pixels(self.seen_rows, self.seen_columns, self.s)
        lane, i = loop_indices(self.lanes, self.strip)
        channel = (lane + position) % self.lanes * self.thread_channels
        pitch = pixel_pitch(self.columns, self.pixel_bytes, 1)
        yield self._load(pitch, row, column + i, channel)
        lane, x = loop_indices(self.lanes, self.seen_by_strip)
        channel = (lane + position) % self.lanes * self.thread_channels
        y = row * self.s + window_row
        seen_pitch = pixel_pitch(self.seen_columns, self.pixel_bytes, self.s)
        yield self._load(seen_pitch, y, column * self.s + x, channel)
        i, tap = loop_indices(self.strip, self.k)
        shift = taps.shift(0, row, column + i)
        yield taps.access("STS", row, column + i, window_row * self.k + tap, shift)
        yield from taps.send()

    def _place(self) -> tuple[Array, Array, Array]:
        """Return each thread's row, first column and first channel, as in `forward.cuh`."""
        position, lane = np.divmod(self.thread, self.lanes)
        row, column = position % self.rows, position // self.rows * self.strip
        return row, column, lane * self.thread_channels

    def _start(self, phase: int) -> tuple[int, int]:
        """Return the first tap that meets a phase, and the output that it belongs to."""
        padding = self.layer.window.padding
        tap = next(tap for tap in range(self.s) if (phase + padding - tap) % self.s == 0)
        return tap, (phase + padding - tap) // self.s

    def _load(self, pitch: int, y: Array, x: Array, channel: Array) -> Access:
        """Load a thread's channels of pixels of a tile with `pitch` bytes from row to row."""
        address = y * pitch + x * self.pixel_bytes + channel * self.itemsize
        count = self.thread_channels * self.itemsize
        size = min(VECTOR_BYTES, count)
        parts = [address + part for part in range(0, count, size)]
        return Access("LDS", size, np.concatenate(parts))

    def _fetch_pixels(self, height: int, width: int, step: int = 1) -> Access:
        pixel = self.pixel_bytes
        return self.fetch(height, width * pixel // VECTOR_BYTES, pixel_pitch(width, pixel, step))

    def fetch(self, height: int, vectors: int, pitch: int) -> Access:
        """Copy rows of vectors that lie `pitch` bytes apart: `Lines` of `tiles.cuh`."""
        threads = len(self.thread)
        team = team_size(threads, height, vectors)
        line, start = loop_indices(-(-height // (threads // team)), -(-vectors // team))
        row = line * (threads // team) + self.thread // team
        vector = start * team + self.thread % team
        is_inside = (row < height) & (vector < vectors)
        address = row * pitch + vector * VECTOR_BYTES
        return Access("LDGSTS", VECTOR_BYTES, np.where(is_inside, address, INACTIVE))


def team_size(threads: int, rows: int, vectors: int) -> int:
    """Return the threads that fetch a row together: `team_size` of `tiles.cuh`."""

    def cost(size: int) -> int:
        return -(-vectors // size) * (-(-rows * size // threads) + 1)

    return min((size for size in (32, 16, 8, 4, 2, 1) if threads % size == 0), key=cost)
