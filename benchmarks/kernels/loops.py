"""The loops of a graph of basic blocks, which name their successors; block 0 is the first."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Loop:
    """Blocks that may run again.

    Attributes:
        header: Index of the block that every round enters by.
        latches: Indices of the blocks that jump back.
        blocks: Indices of all its blocks.
    """

    header: int
    latches: frozenset[int]
    blocks: frozenset[int]


def dominators(successors: Sequence[Sequence[int]]) -> list[set[int]]:
    """For every block those that each way to it passes; block 0 is the first."""
    everything = set(range(len(successors)))
    before: list[set[int]] = [set() for _ in successors]
    for index, following in enumerate(successors):
        for target in following:
            before[target].add(index)
    found = [{0}, *(everything.copy() for _ in successors[1:])]
    changed = True
    while changed:
        changed = False
        for index in range(1, len(successors)):
            new = set.intersection(everything, *(found[one] for one in before[index])) | {index}
            changed |= new != found[index]
            found[index] = new
    return found


def find_loops(successors: Sequence[Sequence[int]]) -> list[Loop]:
    """Natural loops, those with one header taken together; outer ones first.

    Raises:
        ValueError: Some blocks may run again without being a natural loop.
    """
    over = dominators(successors)
    latches: dict[int, set[int]] = {}
    for index, following in enumerate(successors):
        for target in following:
            if target in over[index]:
                latches.setdefault(target, set()).add(index)
    _require_reducible(successors, over)
    loops = [
        Loop(header, frozenset(ends), _body(successors, header, ends))
        for header, ends in latches.items()
    ]
    return sorted(loops, key=lambda loop: (-len(loop.blocks), loop.header))


def _body(successors: Sequence[Sequence[int]], header: int, latches: set[int]) -> frozenset[int]:
    """The blocks from which a latch is reached without passing the header."""
    body, ahead = {header, *latches}, [latch for latch in latches if latch != header]
    while ahead:
        target = ahead.pop()
        new = {i for i, following in enumerate(successors) if target in following} - body
        body |= new
        ahead += new
    return frozenset(body)


def _require_reducible(successors: Sequence[Sequence[int]], over: Sequence[set[int]]) -> None:
    """Without the edges that loop back, nothing may loop."""
    waiting = [0] * len(successors)
    forward = [
        [to for to in following if to not in over[i]] for i, following in enumerate(successors)
    ]
    for following in forward:
        for target in following:
            waiting[target] += 1
    ready, done = [i for i, count in enumerate(waiting) if not count], 0
    while ready:
        done += 1
        for target in forward[ready.pop()]:
            waiting[target] -= 1
            if not waiting[target]:
                ready.append(target)
    if done != len(successors):
        raise ValueError("the control flow has loops with several entries")
