"""Time contenders in turns, so that drift of the machine affects all of them alike.

A turn repeats a short call until it takes long enough for the clock; the time is per call.
"""

import gc
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

MIN_SECONDS = 0.01

Work = Callable[[], object]
Clock = Callable[[], float]


@dataclass(frozen=True)
class Spread:
    """Median and quartiles."""

    median: float
    lower: float
    upper: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Return the spread of some values."""
        lower, median, upper = (float(value) for value in np.percentile(values, (25, 50, 75)))
        return cls(median, lower, upper)


@dataclass(frozen=True)
class Ratio:
    """How many times longer one contender takes than another.

    Attributes:
        of_medians: Ratio of the medians.
        median: Median of the ratios turn by turn.
        lower: Lower quartile of the ratios turn by turn.
        upper: Upper quartile of the ratios turn by turn.
    """

    of_medians: float
    median: float
    lower: float
    upper: float

    @classmethod
    def of(cls, slower: Sequence[float], faster: Sequence[float]) -> "Ratio":
        """Return the ratio of two contenders' times, turn by turn."""
        by_turn = Spread.of([one / other for one, other in zip(slower, faster, strict=True)])
        of_medians = Spread.of(slower).median / Spread.of(faster).median
        return cls(of_medians, by_turn.median, by_turn.lower, by_turn.upper)


def take_turns(
    contenders: Mapping[str, Work],
    turns: int,
    device: torch.device,
    on_turn: Work = lambda: None,
    clock: Clock = time.perf_counter,
) -> dict[str, list[float]]:
    """Time contenders in the order A B C A B C ...

    Args:
        contenders: Functions by name; each is called twice before the first turn.
        turns: Turns of each contender.
        device: Device that the contenders compute on.
        on_turn: Called after every round of turns.
        clock: Returns the seconds on the CPU; `time.process_time` depends less on other work.

    Returns:
        Seconds per call, for every contender and turn.
    """
    calls = {name: _calls_per_turn(work, device, clock) for name, work in contenders.items()}
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(turns):
        with _no_collection():
            for name, work in contenders.items():
                times[name].append(_seconds(work, calls[name], device, clock) / calls[name])
        on_turn()
    return times


def _calls_per_turn(work: Work, device: torch.device, clock: Clock) -> int:
    work()
    return max(1, math.ceil(MIN_SECONDS / max(1e-7, _seconds(work, 1, device, clock))))


def _seconds(work: Work, calls: int, device: torch.device, clock: Clock) -> float:
    if device.type == "cuda":
        return _seconds_by_events(work, calls, device)
    start = clock()
    for _ in range(calls):
        work()
    return clock() - start


def _seconds_by_events(work: Work, calls: int, device: torch.device) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize(device)
    start.record()
    for _ in range(calls):
        work()
    end.record()
    torch.cuda.synchronize(device)
    return start.elapsed_time(end) / 1000


@contextmanager
def _no_collection() -> Iterator[None]:
    """Collect Python's garbage before the timing and not during it."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
