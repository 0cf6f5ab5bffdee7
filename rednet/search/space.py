"""The space of a search: which values each key may have."""

from dataclasses import dataclass
from typing import Any

Value = int | float | str


@dataclass(frozen=True)
class Interval:
    """Numbers between two ends, both included.

    Attributes:
        low: Lower end; whole numbers are drawn if it is an int.
        high: Upper end.
        step: Distance of the numbers from `low` on; None for all numbers.
        log: Whether numbers are drawn evenly by their logarithm.
    """

    low: int | float
    high: int | float
    step: int | float | None = None
    log: bool = False

    @property
    def examples(self) -> list[Value]:
        """Values that a mistake would show in."""
        second = [] if self.step is None else [min(self.low + self.step, self.high)]
        return list(dict.fromkeys([self.low, *second, self.high]))

    def __str__(self) -> str:
        step = "" if self.step is None else f", in steps of {self.step:g}"
        return f"{self.low:g} to {self.high:g}{step}{', log' if self.log else ''}"


@dataclass(frozen=True)
class Choice:
    """Some values, as text that Hydra reads."""

    options: tuple[str, ...]

    @property
    def examples(self) -> list[Value]:
        """All values."""
        return list(self.options)

    def __str__(self) -> str:
        return ", ".join(self.options)


Axis = Interval | Choice
Space = dict[str, Axis]
"""The values of each dotted key or group."""


def to_text(value: Any) -> str:
    """Return a value as an override has it."""
    return repr(value) if isinstance(value, float) else str(value)
