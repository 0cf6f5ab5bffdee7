"""The tile of the result that a block computes in the kernels that make their taps themselves.

The same sizes are computed at compile time in `kernels/cuda`.
"""

from functools import cache
from math import gcd

from rednet.ops.cuda.tiles import (
    MAX_CHANNELS,
    OCTET,
    VECTOR_BYTES,
    Tile,
    covering_taps,
    fetched_bytes,
    has_bands,
    largest_tile,
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
    is_grad_input = operator == "span_grad_input"
    taps, reach = covering_taps(window) if is_grad_input else (window.kernel_size, 0)
    by_output = is_grad_input and itemsize == 2
    is_in_pairs = not is_grad_input and has_bands(
        operator, rows, columns, pixel // itemsize, itemsize, window
    )
    slot = OCTET if is_in_pairs else slot_elements(taps, itemsize)
    pitch = span_pitch(columns + reach if by_output else columns, slot, by_output)
    fetched = fetched_bytes(operator, rows, columns, pixel, itemsize, window)
    return round_up(fetched, VECTOR_BYTES) + taps * rows * pitch * itemsize


def span_pitch(columns: int, slot: int, by_output: bool) -> int:
    """Return the elements from a row of pixels' taps to the next: `SpanTaps`.

    Args:
        columns: Pixels, or outputs, of a row.
        slot: Elements of a row of taps of one of them.
        by_output: Whether they are outputs.
    """
    if by_output:
        return 2 * (round_up(columns * slot // 2 - 1, 32) + 1)
    return (columns | 1) * slot


def slot_elements(taps: int, itemsize: int) -> int:
    """Return the elements that hold a row of taps: in 16 bits whole vectors, or half of one."""
    if itemsize != 2:
        return taps
    return 4 if taps <= 4 else round_up(taps, 8)
