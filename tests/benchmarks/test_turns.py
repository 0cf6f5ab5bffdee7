"""Turns alternate; spreads and ratios against hand numbers."""

import torch

from benchmarks.turns import Ratio, Spread, take_turns

CPU = torch.device("cpu")


def test_turns_alternate_and_short_calls_are_repeated():
    calls = []
    work = {name: lambda name=name: calls.append(name) for name in "AB"}
    times = take_turns(work, 3, CPU)
    order = [name for last, name in zip(["", *calls], calls, strict=False) if name != last]
    assert order == list("ABABAB" + "AB")
    assert calls.count("A") > 100
    assert all(len(values) == 3 and min(values) > 0 for values in times.values())


def test_spread_and_ratio():
    assert Spread.of([3, 1, 2, 5, 4]) == Spread(3, 2, 4)
    assert Ratio.of([2, 6, 12], [1, 2, 3]) == Ratio(3, 3, 2.5, 3.5)
