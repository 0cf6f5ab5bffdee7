"""Which part of an image a block of threads computes: the largest that fits shared memory.

This is arithmetic of `kernels/cuda`, where the same sizes are computed by the compiler.
"""

from dataclasses import dataclass
from functools import cache
from math import gcd

from rednet.ops.window import Window

VECTOR_BYTES = 16
"""Bytes that are fetched at once."""
SHARED_BYTES = 48 << 10
"""Shared memory that a block may have on every GPU without asking for more."""
MOST_THREADS = 512
"""Threads of a block, few enough for every GPU whatever registers they need."""
LEAST_THREADS = 16
"""Threads of a block that are worth a tile."""
STRIP = 4
"""Neighbouring pixels that a thread computes."""
MOST_CHANNELS = 16
"""Channels of a group that are in shared memory at a time."""
READ_BYTES = {"involution2d": 16, "involution2d_grad_input": 32, "involution2d_grad_weight": 16}
"""What a thread reads of a pixel."""
MAX_THREAD_CHANNELS = {
    "involution2d": 8,
    "involution2d_grad_input": 8,
    "involution2d_grad_weight": 4,
}
"""Channels of a pixel that a thread has registers for."""
LARGEST_KERNEL = {"involution2d": 31, "involution2d_grad_input": 31, "involution2d_grad_weight": 15}
"""Larger ones go the direct way: for their registers, or the time that compiling them takes."""
_SIZES = ((8, 16), (8, 8), (8, 4), (4, 4), (2, 4), (1, 4))


@dataclass(frozen=True)
class Tile:
    """A block's share of the work.

    Attributes:
        rows: Rows of pixels.
        columns: Pixels of a row.
        channels: Channels of the group that are fetched at a time.
        thread_channels: Neighbouring channels that a thread works on.
        threads: Of the block.
        shared_bytes: Shared memory of the block.
    """

    rows: int
    columns: int
    channels: int
    thread_channels: int
    threads: int
    shared_bytes: int

    @property
    def defines(self) -> dict[str, int]:
        """Macros of the kernel sources."""
        return {
            "TILE_ROWS": self.rows,
            "TILE_COLUMNS": self.columns,
            "TILE_CHANNELS": self.channels,
            "STRIP_COLUMNS": STRIP,
            "THREAD_CHANNELS": self.thread_channels,
        }


@cache
def select_tile(
    operator: str, width: int, group_width: int, itemsize: int, window: Window
) -> Tile | None:
    """The tile of an operator, None where none fits.

    Args:
        operator: Name of the kernel.
        width: Pixels of a row of the result; of one phase of it, for the gradient of the input.
        group_width: Channels of a group.
        itemsize: Bytes of an element.
        window: Of the involution.
    """
    if window.kernel_size > LARGEST_KERNEL[operator]:
        return None
    channels = gcd(group_width, MOST_CHANNELS)
    thread_channels = min(channels, READ_BYTES[operator] // itemsize, MAX_THREAD_CHANNELS[operator])
    for rows, columns in _SIZES:
        fetched = _shared_bytes(operator, rows, columns, channels * itemsize, itemsize, window)
        lanes = (
            window.kernel_size if operator.endswith("grad_weight") else channels // thread_channels
        )
        threads = rows * columns // STRIP * lanes
        too_wide = columns >= 2 * width and threads >= 2 * LEAST_THREADS
        if fetched <= SHARED_BYTES and threads <= MOST_THREADS and not too_wide:
            tile = Tile(rows, columns, channels, thread_channels, threads, fetched)
            return tile if threads >= LEAST_THREADS else None
    return None


def _shared_bytes(
    operator: str, rows: int, columns: int, pixel: int, itemsize: int, window: Window
) -> int:
    """Shared memory for a tile, where the channels of a pixel take `pixel` bytes."""
    size, stride, dilation = window.kernel_size, window.stride, window.dilation
    if operator == "involution2d_grad_input":
        common = gcd(stride, dilation)
        reach = (-(-size * common // stride) - 1) * dilation // common
        width = columns + reach
        taps = 2 * _tap_bytes(rows, width, size, itemsize)
        return _round_up(_pixel_bytes(rows + reach, width, pixel), VECTOR_BYTES) + taps
    reach = dilation * (size - 1) + 1
    height, width = (rows - 1) * stride + reach, (columns - 1) * stride + reach
    fetched = _pixel_bytes(height, width, pixel)
    taps = _tap_bytes(rows, columns, size * size, itemsize)
    if operator == "involution2d":
        return _round_up(fetched, VECTOR_BYTES) + taps
    return max(fetched + _pixel_bytes(rows, columns, pixel), taps)


def _pixel_bytes(height: int, width: int, pixel: int) -> int:
    """Of a tile of pixels, which has an odd number in a row."""
    return height * (width | 1) * pixel


def _tap_bytes(height: int, width: int, count: int, itemsize: int) -> int:
    """Of a tile of `count` taps a pixel, each in a slot of whole vectors."""
    slot = _round_up((count - 1) * itemsize + VECTOR_BYTES, VECTOR_BYTES)
    return height * (_round_up(width * slot - 16, 128) + 16)


def _round_up(value: int, unit: int) -> int:
    return -(-value // unit) * unit
