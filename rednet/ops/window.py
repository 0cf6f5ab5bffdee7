"""The sliding window of an involution."""

from collections.abc import Iterator
from dataclasses import dataclass
from operator import index
from typing import Any

Side = int | tuple[int, int]
"""A number for both directions, alone or as a pair of equal ones."""


def as_integer(name: str, value: Any) -> int:
    """Return an integer of any kind; raise ValueError, which begins with `name`, for others."""
    if isinstance(value, int):
        return value
    try:
        return index(value)
    except TypeError:
        raise ValueError(f"{name} must be an integer, got {value!r}") from None


def as_side(name: str, value: Any) -> int:
    """Return the integer given for both sides of a window, alone or as a pair of equal ones.

    Raises:
        ValueError: The value is neither; the message begins with `name`.
    """
    if not isinstance(value, tuple | list):
        return as_integer(name, value)
    sides = {as_integer(name, side) for side in value}
    if len(value) != 2 or len(sides) != 1:
        raise ValueError(
            f"{name} must be an integer or a pair of equal ones, since windows are square; "
            f"got {value!r}"
        )
    return sides.pop()


def as_size(name: str, value: Any) -> tuple[int, int]:
    """Return the two integers of an image's size; raise ValueError for anything else."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise ValueError(f"{name} must be (height, width), got {value!r}")
    return as_integer(name, value[0]), as_integer(name, value[1])


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
    def sides(self) -> tuple[int, int, int, int]:
        """All four numbers, in the order of the operators' arguments."""
        return self.kernel_size, self.stride, self.padding, self.dilation

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
