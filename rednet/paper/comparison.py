"""The comparison of one published number with ours, to the last printed digit."""

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
"""The unit of each quantity of a network: millions, 10^9, percent."""

PublishedValues = Mapping[str, str | None]
"""Published numbers by source, as printed; the source with the most digits comes last."""
UNPUBLISHED: PublishedValues = {"": None}

REPRODUCED, NOT_COMPARABLE = "reproduced", "not comparable"
NOT_PUBLISHED, NOT_MEASURED = "not published", "not measured"


@dataclass(frozen=True)
class Comparison:
    """One number, as published and as found here.

    Attributes:
        row: Name of the table row that the number belongs to.
        quantity: What the number is, a key of `UNITS` or the name of a count.
        source: Who published it, or "" if nobody did.
        published: The published number as printed, if any.
        ours: Our number, unrounded, or None if it was not measured.
        reason: Why the two differ, if known, or what a reader should know about ours.
        network: Name and options of the network.
        accuracy: The evaluation that produced ours; None for counted numbers.
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
        """The unit of the number, "" for counts."""
        return UNITS.get(self.quantity, "")

    @property
    def difference(self) -> Decimal | None:
        """Ours minus the published number, if both exist."""
        if self.published is None or self.ours is None:
            return None
        return self.ours - Decimal(self.published)

    @property
    def is_comparable(self) -> bool:
        """Whether both numbers exist and ours was obtained under the published conditions."""
        return self.difference is not None and not (self.accuracy and self.accuracy.deviations)

    @property
    def is_reproduced(self) -> bool:
        """Whether ours is comparable and rounds to the published number."""
        if self.published is None or self.ours is None or not self.is_comparable:
            return False
        return round_as_printed(self.ours, self.published) == Decimal(self.published)

    @property
    def verdict(self) -> str:
        """The result of the comparison in words."""
        if self.published is None:
            return NOT_PUBLISHED
        if self.difference is None:
            return NOT_MEASURED
        if not self.is_comparable:
            return NOT_COMPARABLE
        if self.is_reproduced:
            return REPRODUCED
        return f"differs by {format_difference(self.difference)}"


def to_millions(count: int) -> Decimal:
    """Return a number of parameters in millions, exactly."""
    return Decimal(count).scaleb(-6)


def to_billions(count: int) -> Decimal:
    """Return a number of operations in units of 10^9, exactly."""
    return Decimal(count).scaleb(-9)


def round_as_printed(value: Decimal, published: str) -> Decimal:
    """Round a number to as many digits as were published."""
    return value.quantize(Decimal(published), ROUND_HALF_UP)


def format_number(value: Decimal | None, digits: int = 4) -> str:
    """Return a number as the text of a table cell."""
    return "-" if value is None else f"{value:.{digits}f}"


def format_difference(value: Decimal | None, digits: int = 4) -> str:
    """Return a signed difference as the text of a table cell."""
    return "-" if value is None else f"{value:+.{digits}f}"
