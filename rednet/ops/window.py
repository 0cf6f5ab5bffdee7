"""The sliding window of an involution."""

from collections.abc import Iterator
from dataclasses import dataclass
from operator import index
from typing import Any

Side = int | tuple[int, int]
"""A number for both directions, alone or as a pair of equal ones."""


def as_side(name: str, value: Any) -> int:
    """Return the integer given for both sides of a window, alone or as a pair of equal ones.

    Raises:
        ValueError: The value is neither; the message begins with `name`.
    """
    if isinstance(value, int):
        return value
    sides = tuple(value) if isinstance(value, tuple | list) else (value,)
    try:
        first, *others = map(index, sides)
    except (TypeError, ValueError):
        raise ValueError(
            f"{name} must be an integer, or a pair of equal ones, got {value!r}"
        ) from None
    if len(sides) > 2 or others not in ([], [first]):
        raise ValueError(f"{name} must be the same in both directions, got {value!r}")
    return first


@dataclass(frozen=True)
class Window:
    """Kernel size, stride, zero padding and dilation, each the same in both directions."""

    kernel_size: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1

    def __post_init__(self) -> None:
        for name in ("kernel_size", "stride", "dilation"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.padding < 0:
            raise ValueError(f"padding must not be negative, got {self.padding}")

    @property
    def area(self) -> int:
        """Number of taps, K*K."""
        return self.kernel_size * self.kernel_size

    def output_size(self, size: int) -> int:
        """Return the number of outputs along a side of `size` pixels, as `F.conv2d` has it."""
        reach = self.dilation * (self.kernel_size - 1)
        return (size + 2 * self.padding - reach - 1) // self.stride + 1

    def taps(self, height: int, width: int) -> Iterator[tuple[int, slice, slice]]:
        """Yield each tap's index, and the rows and columns of the padded input that it reads.

        Args:
            height: Number of output rows.
            width: Number of output columns.
        """
        rows, columns = (self.stride * (size - 1) + 1 for size in (height, width))
        for tap in range(self.area):
            top, left = (self.dilation * offset for offset in divmod(tap, self.kernel_size))
            yield (
                tap,
                slice(top, top + rows, self.stride),
                slice(left, left + columns, self.stride),
            )
