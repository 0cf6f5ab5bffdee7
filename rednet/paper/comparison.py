"""A published figure beside ours, and whether ours is the same to the last printed digit."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from rednet.paper.accuracy import Accuracy

UNITS = {
    "parameters": "M",
    "FLOPs": "G",
    "MACs": "G",
    "top-1": "%",
    "top-5": "%",
}
"""Quantities of a network: millions, 10^9, percent."""

Sources = Mapping[str, str | None]
"""Who published a figure, and what, the finest last."""
UNPUBLISHED: Sources = {"": None}

REPRODUCED, NOT_COMPARABLE = "reproduced", "not comparable"
NOT_PUBLISHED, NOT_MEASURED = "not published", "not measured"


@dataclass(frozen=True)
class Comparison:
    """One figure.

    Attributes:
        row: What it is a figure of.
        quantity: Which figure, one of `UNITS` or a count.
        source: Who published it, or "" for nobody.
        published: As printed, or None.
        ours: Unrounded, or None where it was not measured.
        reason: Why they differ, where that is known, or what is to be known of ours.
        network: Its name and options.
        accuracy: The evaluation that ours is of, None for what is counted.
    """

    row: str
    quantity: str
    source: str
    published: str | None
    ours: Decimal | None
    reason: str = ""
    network: str = ""
    accuracy: Accuracy | None = None

    @property
    def unit(self) -> str:
        """Of the figure; counts have none."""
        return UNITS.get(self.quantity, "")

    @property
    def difference(self) -> Decimal | None:
        """Ours minus the published figure."""
        if self.published is None or self.ours is None:
            return None
        return self.ours - Decimal(self.published)

    @property
    def is_comparable(self) -> bool:
        """Whether there are both, and ours was obtained as the published figure was."""
        return self.difference is not None and not (self.accuracy and self.accuracy.remark)

    @property
    def is_reproduced(self) -> bool:
        """Whether ours is comparable and, rounded to as many digits, the published figure."""
        if self.published is None or self.ours is None or not self.is_comparable:
            return False
        published = Decimal(self.published)
        return self.ours.quantize(published, ROUND_HALF_UP) == published

    @property
    def verdict(self) -> str:
        """In words."""
        if self.published is None:
            return NOT_PUBLISHED
        if self.difference is None:
            return NOT_MEASURED
        if not self.is_comparable:
            return NOT_COMPARABLE
        return REPRODUCED if self.is_reproduced else f"differs by {signed(self.difference)}"


def millions(count: int) -> Decimal:
    """A number of parameters in millions, exactly."""
    return Decimal(count).scaleb(-6)


def billions(count: int) -> Decimal:
    """A number of operations in 10^9, exactly."""
    return Decimal(count).scaleb(-9)


def number(value: Decimal | None, digits: int = 4) -> str:
    """A figure for a table."""
    return "-" if value is None else f"{value:.{digits}f}"


def signed(value: Decimal | None, digits: int = 4) -> str:
    """A difference for a table."""
    return "-" if value is None else f"{value:+.{digits}f}"
