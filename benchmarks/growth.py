"""How the cost of an involution grows: one quantity changes, all others stay.

A cost that is linear in a quantity has exponent 1: log(time) rises as fast as log(quantity).
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from benchmarks.layers import OPERATORS, Layer
from benchmarks.operator import make_passes
from benchmarks.operator_case import OperatorCase
from benchmarks.turns import Spread, Work, take_turns

BASE = Layer("stage2", 128, 56)
BASE_BATCH = 4
VALUES = {
    "batch": (1, 2, 4, 8, 16),
    "size": (14, 28, 56, 112),
    "kernel_size": (3, 5, 7, 9, 11),
    "group_channels": (4, 8, 16, 32, 64, 128),
    "threads": (1, 2, 4, 8, 16, 32, 64),
}
"""Values of each quantity; threads end with the cores of the machine."""


@dataclass(frozen=True)
class Point:
    """One value of one quantity."""

    quantity: str
    value: int

    def case(self, precision: str, device: torch.device) -> OperatorCase:
        """Return what is measured."""
        threads = torch.get_num_threads()
        case = OperatorCase(BASE, precision, BASE_BATCH, device, threads)
        changed: dict[str, Any] = {self.quantity: self.value}
        if self.quantity in ("batch", "threads"):
            return replace(case, **changed)
        return replace(case, layer=replace(BASE, **changed))

    @property
    def amount(self) -> int:
        """What the cost should be linear in: of a side or a kernel size its square."""
        return self.value**2 if self.quantity in ("size", "kernel_size") else self.value


def points(cores: int) -> list[Point]:
    """Return all points for a machine with so many cores."""
    return [
        Point(quantity, value)
        for quantity, values in VALUES.items()
        for value in values
        if quantity != "threads" or value <= cores
    ]


def measure_quantity(
    own: list[Point], backend: str, precision: str, device: torch.device, turns: int, on_turn: Work
) -> list[dict[str, Any]]:
    """Return a row for each pass and value of one quantity; all values take turns.

    Args:
        own: Points of one quantity.
        backend: Backend of the operator.
        precision: "fp32", "bf16", "fp16" or "fp64".
        device: Device of the tensors.
        turns: Turns of each value.
        on_turn: Called after every round of turns.
    """
    passes = {point: make_passes(backend, point.case(precision, device)) for point in own}
    rows = []
    for kind in OPERATORS:
        works = {
            str(point.value): _with_threads(passes[point][kind], point.case(precision, device))
            for point in own
        }
        times = take_turns(works, turns, device, on_turn)
        medians = [Spread.of(times[str(point.value)]) for point in own]
        exponent = _exponent([point.amount for point in own], [one.median for one in medians])
        rows += [
            {
                "quantity": point.quantity,
                "value": point.value,
                "precision": precision,
                "pass": kind,
                "ms": {name: 1e3 * value for name, value in asdict(spread).items()},
                "exponent": exponent,
            }
            for point, spread in zip(own, medians, strict=True)
        ]
    return rows


def _with_threads(work: Work, case: OperatorCase) -> Work:
    def run() -> object:
        before = torch.get_num_threads()
        torch.set_num_threads(case.threads)
        try:
            return work()
        finally:
            torch.set_num_threads(before)

    return run


def _exponent(amounts: list[int], seconds: list[float]) -> float | None:
    """Return the slope of log(seconds) over log(amount); None for a single amount."""
    if len(amounts) < 2:
        return None
    return float(np.polyfit(np.log(amounts), np.log(seconds), 1)[0])
