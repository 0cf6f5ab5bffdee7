"""The tile of the result that a block computes in the kernels that make their taps themselves.

The same sizes are computed at compile time in `kernels/cuda`.
"""

from functools import cache
from math import gcd

from rednet.ops.cuda.tiles import (
    MAX_CHANNELS,
    VECTOR_BYTES,
    Tile,
    largest_tile,
    pixel_bytes,
    round_up,
)
from rednet.ops.window import Window

READ_BYTES = 16
"""Bytes that a thread reads of a pixel, which are at most 8 channels."""
MAX_KERNEL_SIZE = 15
"""Larger windows have no kernel, because of registers and of the time to compile."""


@cache
def select_span_tile(
    operator: str, width: int, group_width: int, itemsize: int, window: Window
) -> Tile | None:
    """Select the tile of `span_involution2d` or `span_grad_input`; return None if none fits.

    Args:
        operator: Name of the kernel.
        width: Pixels in a row of the result; for the gradient of the input, in a row of a phase.
        group_width: Channels of a group.
        itemsize: Bytes of an element.
        window: Window of the involution.
    """
    if window.kernel_size > MAX_KERNEL_SIZE:
        return None
    channels = gcd(group_width, MAX_CHANNELS)
    thread_channels = min(channels, READ_BYTES // itemsize)
    return largest_tile(
        *(channels, thread_channels, channels // thread_channels, width),
        lambda rows, columns: _shared_bytes(
            operator, rows, columns, channels * itemsize, itemsize, window
        ),
    )


def _shared_bytes(
    operator: str, rows: int, columns: int, pixel: int, itemsize: int, window: Window
) -> int:
    """Return the shared memory of a tile whose pixels have `pixel` bytes of channels."""
    size, stride, dilation = window.kernel_size, window.stride, window.dilation
    if operator == "span_grad_input":
        common = gcd(stride, dilation)
        taps = -(-size * common // stride)
        reach = (taps - 1) * dilation // common
        height, width = rows + reach, columns + reach
    else:
        taps, reach = size, dilation * (size - 1) + 1
        height, width = (rows - 1) * stride + reach, (columns - 1) * stride + reach
    step = 1 if operator == "span_grad_input" else stride
    fetched = round_up(pixel_bytes(height, width, pixel, step), VECTOR_BYTES)
    by_output = operator == "span_grad_input" and itemsize == 2
    pitch = span_pitch(width if by_output else columns, taps, itemsize, by_output)
    return fetched + taps * rows * pitch * itemsize


def span_pitch(columns: int, taps: int, itemsize: int, by_output: bool) -> int:
    """Return the elements from a row of pixels' taps to the next: `SpanTaps`."""
    slot = slot_elements(taps, itemsize)
    if by_output:
        return 2 * (round_up(columns * slot // 2 - 1, 32) + 1)
    return (columns | 1) * slot


def slot_elements(taps: int, itemsize: int) -> int:
    """Return the elements that hold a row of taps: in 16 bits whole vectors, or half of one."""
    if itemsize != 2:
        return taps
    return 4 if taps <= 4 else round_up(taps, 8)
