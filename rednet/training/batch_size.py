"""Search for the largest batch that the memory holds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

FIRST = 8
"""Images that are tried first."""


def largest_fitting(fits: Callable[[int], bool], most: int) -> int:
    """Return the largest size that fits, by doubling and then by bisection; 0 if none does.

    Args:
        fits: Returns whether a size fits; if one does, all smaller ones do.
        most: Largest size of interest.
    """
    low, high = 0, most + 1
    size = min(FIRST, most)
    while low < size < high:
        if fits(size):
            low, size = size, min(2 * size, most)
        else:
            high = size
    while high - low > 1:
        middle = (low + high) // 2
        if fits(middle):
            low = middle
        else:
            high = middle
    return low


@dataclass(frozen=True)
class Need:
    """The memory that a batch needs, as a straight line.

    Attributes:
        size: Images of the largest batch that was measured.
        total: Bytes that the process had with it at its peak.
        per_image: Further bytes for each further image.
    """

    size: int
    total: int
    per_image: float

    def largest(self, budget: float, most: int) -> int:
        """Return the largest size, at most `most`, whose need is within a budget in bytes."""
        further = (budget - self.total) / self.per_image
        return max(0, min(most, self.size + int(further // 1)))


def extrapolate(
    peak: Callable[[int], int],
    *,
    before: int,
    budget: float,
    most: int,
    least_per_image: float,
    enough: int,
    largest: int,
) -> Need:
    """Measure the memory of small batches, and return the line through the last two.

    No batch is tried whose need, as far as is known, is above half of what is free.

    Args:
        peak: Returns the bytes that the process has at its peak with a batch of so many images.
        before: Bytes that it has before.
        budget: Bytes that it may have.
        most: Largest size of interest.
        least_per_image: Bytes that an image needs at least.
        enough: Growth in bytes between two batches that is large enough to tell.
        largest: Largest size to try.
    """
    size = min(2, most)
    points = [(0, before), (size, peak(size))]
    while _is_open(points, enough) and 2 * size <= min(most, largest):
        line = _line(points, least_per_image)
        if line.total + size * line.per_image > (before + budget) / 2:
            break
        size *= 2
        points.append((size, peak(size)))
    return _line(points, least_per_image)


def _is_open(points: Sequence[tuple[int, int]], enough: int) -> bool:
    """Return whether two batches do not tell yet what an image needs."""
    return len(points) < 4 or points[-1][1] - points[-2][1] < enough


def _line(points: Sequence[tuple[int, int]], least_per_image: float) -> Need:
    (size, total), (larger, more) = points[-2:]
    per_image = (more - total) / max(1, larger - size)
    return Need(larger, more, max(per_image, least_per_image))
