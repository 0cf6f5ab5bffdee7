"""The tile of the result that a block computes: the largest that fits in shared memory.

The same sizes are computed at compile time in `kernels/cuda`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import gcd

from rednet.ops.window import Window

VECTOR_BYTES = 16
"""Bytes that a thread fetches at once."""
SHARED_BYTES = 48 << 10
"""Shared memory that a block may use on every GPU without opting in to more."""
MAX_THREADS = 512
"""Threads of a block: few enough for every GPU, however many registers a thread needs."""
MIN_THREADS = 16
"""Threads of a block below which a tile is not worth its overhead."""
STRIP = 4
"""Neighbouring pixels that a thread computes."""
MAX_CHANNELS = 16
"""Channels of a group that are in shared memory at a time."""
READ_BYTES = {"involution2d": 16, "involution2d_grad_input": 32, "involution2d_grad_weight": 16}
"""Bytes that a thread reads of a pixel."""
MAX_THREAD_CHANNELS = {
    "involution2d": 8,
    "involution2d_grad_input": 8,
    "involution2d_grad_weight": 4,
}
"""Channels of a pixel for which a thread has registers."""
MAX_KERNEL_SIZE = {
    "involution2d": 31,
    "involution2d_grad_input": 31,
    "involution2d_grad_weight": 15,
}
"""Larger windows use the direct kernels, because of registers or of the time to compile."""
OCTET = 8
"""Neighbouring results of a product of matrices."""
BANDED = (
    *("involution2d", "involution2d_grad_input"),
    *("span_involution2d", "span_grad_input"),
)
"""Operators with sums by tensor cores."""
SIZES = ((8, 16), (8, 8), (8, 4), (4, 4), (2, 4), (1, 4))


@dataclass(frozen=True)
class Tile:
    """The part of an image and a group that a block computes.

    Attributes:
        rows: Rows of pixels.
        columns: Pixels of a row.
        channels: Channels of the group that are fetched at a time.
        thread_channels: Neighbouring channels that a thread computes.
        threads: Threads of the block.
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
    """Select an operator's tile; return None if none fits.

    Args:
        operator: Name of the kernel.
        width: Pixels in a row of the result; for the gradient of the input, in a row of a phase.
        group_width: Channels of a group.
        itemsize: Bytes of an element.
        window: Window of the involution.
    """
    if window.kernel_size > MAX_KERNEL_SIZE[operator]:
        return None
    channels = gcd(group_width, MAX_CHANNELS)
    thread_channels = min(channels, READ_BYTES[operator] // itemsize, MAX_THREAD_CHANNELS[operator])
    is_grad_weight = operator == "involution2d_grad_weight"
    lanes = window.kernel_size if is_grad_weight else channels // thread_channels
    return largest_tile(
        *(channels, thread_channels, lanes, width),
        lambda rows, columns: _shared_bytes(
            operator, rows, columns, channels * itemsize, itemsize, window
        ),
    )


def largest_tile(
    channels: int,
    thread_channels: int,
    lanes: int,
    width: int,
    shared_bytes: Callable[[int, int], int],
) -> Tile | None:
    """Return the largest tile of `SIZES` that a block can have; None if none fits.

    Args:
        channels: Channels of the group that are fetched at a time.
        thread_channels: Neighbouring channels that a thread computes.
        lanes: Threads for each strip of pixels.
        width: As in `select_tile`.
        shared_bytes: Returns the shared memory of a tile with so many rows and columns.
    """
    for rows, columns in SIZES:
        shared = shared_bytes(rows, columns)
        threads = rows * columns // STRIP * lanes
        too_wide = columns >= 2 * width and threads >= 2 * MIN_THREADS
        if shared <= SHARED_BYTES and threads <= MAX_THREADS and not too_wide:
            tile = Tile(rows, columns, channels, thread_channels, threads, shared)
            return tile if threads >= MIN_THREADS else None
    return None


def _shared_bytes(
    operator: str, rows: int, columns: int, pixel: int, itemsize: int, window: Window
) -> int:
    """Return the shared memory of a tile whose pixels have `pixel` bytes of channels."""
    size = window.kernel_size
    fetched = fetched_bytes(operator, rows, columns, pixel, itemsize, window)
    if operator == "involution2d_grad_input":
        taps = 2 * _tap_bytes(rows, columns + covering_taps(window)[1], size, itemsize)
        return round_up(fetched, VECTOR_BYTES) + taps
    taps = _tap_bytes(rows, columns, size * size, itemsize)
    if operator == "involution2d":
        return round_up(fetched, VECTOR_BYTES) + taps
    return max(fetched + pixel_bytes(rows, columns, pixel), taps)


def fetched_bytes(
    operator: str, rows: int, columns: int, pixel: int, itemsize: int, window: Window
) -> int:
    """Return the bytes of the pixels that a tile of results is computed from.

    Args:
        operator: Name of the kernel.
        rows: Rows of the tile.
        columns: Pixels of a row.
        pixel: Bytes of a pixel.
        itemsize: Bytes of an element.
        window: Window of the involution.
    """
    step, reach = window.stride, window.dilation * (window.kernel_size - 1)
    if operator.endswith("grad_input"):
        step, reach = 1, covering_taps(window)[1]
    height, width = (rows - 1) * step + 1 + reach, (columns - 1) * step + 1 + reach
    if has_bands(operator, rows, columns, pixel // itemsize, itemsize, window):
        return height * step * (columns + OCTET) * pixel
    return pixel_bytes(height, width, pixel, step)


def has_bands(
    operator: str, rows: int, columns: int, channels: int, itemsize: int, window: Window
) -> bool:
    """Return whether sums are products of banded matrices: `bands.cuh`, from sm_80 on."""
    stride, dilation = window.stride, window.dilation
    if operator.endswith("grad_input"):
        is_narrow = covering_taps(window)[1] < OCTET
    else:
        parts = 1 if window.kernel_size == 1 else stride // gcd(stride, dilation)
        last = (window.kernel_size - 1) * dilation // stride
        is_narrow = parts <= 2 and last < OCTET // parts
    has_octets = itemsize == 2 and channels == 16 and rows % OCTET == columns % OCTET == 0
    return operator in BANDED and has_octets and is_narrow


def covering_taps(window: Window) -> tuple[int, int]:
    """Return the taps of a phase in each direction, and the outputs from the first to the last."""
    common = gcd(window.stride, window.dilation)
    taps = -(-window.kernel_size * common // window.stride)
    return taps, (taps - 1) * window.dilation // common


def pixel_bytes(height: int, width: int, pixel: int, step: int = 1) -> int:
    """Return the bytes of a tile of pixels, read by threads whose rows are `step` apart."""
    return height * pixel_pitch(width, pixel, step)


def pixel_pitch(width: int, pixel: int, step: int) -> int:
    """Return the bytes from a row of a tile of pixels to the next: PITCH of `pixels.cuh`."""
    padding = pixel // gcd(step, pixel)
    if step % 2 == 0 and padding >= VECTOR_BYTES:
        return width * pixel + padding
    return (width | 1) * pixel


def _tap_bytes(height: int, width: int, count: int, itemsize: int) -> int:
    """Return the bytes of a tile with `count` taps per pixel, each pixel in whole vectors."""
    slot = round_up((count - 1) * itemsize + VECTOR_BYTES, VECTOR_BYTES)
    return height * (round_up(width * slot - 16, 128) + 16)


def round_up(value: int, unit: int) -> int:
    """Round a value up to a multiple of a unit."""
    return -(-value // unit) * unit
