"""Which way the threads of a block take through a kernel, as far as the code alone decides it.

A thread's index is known, memory and the kernel's arguments are not. Where a loop's end depends on
them the walk gives up. Where a jump ahead does, both ways are counted, or the one that has a loop.
A jump out of a loop or of the kernel that depends on them is not taken.
"""

from collections import Counter
from collections.abc import Sequence

from benchmarks.kernels.assembly import Code, Instruction
from benchmarks.kernels.integers import is_understood, names_needed
from benchmarks.kernels.loops import dominators
from benchmarks.kernels.names import names_read, names_written
from benchmarks.kernels.thread import Thread

WARP = 32
MAX_VISITS = 200_000


class Lost(Exception):
    """The code does not say where the thread goes."""


class Map:
    """What all threads share: which instructions matter and where ways meet again."""

    def __init__(self, code: Code) -> None:
        self.code = code
        self.relevant = _deciding(code)
        self.written = [
            set().union(*(names_written(one) for one in block.instructions))
            for block in code.blocks
        ]
        self.meeting = _meeting_points([block.successors for block in code.blocks])

    def between(self, block: int, end: int) -> set[int]:
        """The blocks on any way from a block to another, without the two."""
        reached: set[int] = set()
        ahead = list(self.code.blocks[block].successors) if block != end else []
        while ahead:
            index = ahead.pop()
            if index != end and index not in reached:
                reached.add(index)
                ahead += self.code.blocks[index].successors
        return reached

    def has_loop(self, blocks: set[int], block: int, end: int) -> bool:
        """Whether some of the blocks between a jump and its end run more than once."""
        own = blocks - {end}
        return block in own or any(loop.header in own for loop in self.code.loops)


def walk(code: Code, threads: int) -> list[float] | None:
    """How often a warp runs each block, on average over the warps of a block of threads.

    A warp runs a block as often as that of its threads which runs it most often.

    Returns:
        By block; None where the code alone does not say.
    """
    if any(one.is_call for one in code.instructions):
        return None
    chart = Map(code)
    total: Counter[int] = Counter()
    warps = -(-threads // WARP)
    try:
        for warp in range(warps):
            most: Counter[int] = Counter()
            for index in range(WARP * warp, min(WARP * (warp + 1), threads)):
                most |= _visits(chart, index)
            total += most
    except Lost:
        return None
    return [total[index] / warps for index in range(len(code.blocks))]


def _visits(chart: Map, index: int) -> Counter[int]:
    thread = Thread(index)
    visits: Counter[int] = Counter()
    block: int | None = 0
    for _ in range(MAX_VISITS):
        if block is None:
            return visits
        visits[block] += 1
        for one in chart.relevant[block]:
            thread.run(one)
        block = _next_block(chart, thread, block, visits)
    raise Lost


def _next_block(chart: Map, thread: Thread, block: int, visits: Counter[int]) -> int | None:
    here = chart.code.blocks[block]
    last = here.instructions[-1]
    if not here.successors or (last.base == "EXIT" and _is_taken(last, thread)):
        return None
    if len(here.successors) == 1:
        return here.successors[0]
    taken = _is_taken(last, thread)
    if taken is None or here.target is None:
        return _past_unknown(chart, thread, block, visits)
    return here.target if taken else next(i for i in here.successors if i != here.target)


def _is_taken(jump: Instruction, thread: Thread) -> bool | None:
    answers = [thread.holds(condition) for condition in (jump.guard, *jump.conditions)]
    if False in answers:
        return False
    return None if None in answers else True


def _past_unknown(chart: Map, thread: Thread, block: int, visits: Counter[int]) -> int:
    """Goes on in a loop; else counts both ways and forgets what either may change."""
    loops, successors = chart.code.loops_around(block), chart.code.blocks[block].successors
    if loops:
        ahead = [i for i in successors if i in loops[-1].blocks and i != loops[-1].header]
        if not ahead:
            raise Lost
        if len(ahead) == 1:
            return ahead[0]
    end = chart.meeting[block]
    if end is None or end == len(chart.code.blocks):
        raise Lost
    looping = [i for i in successors if chart.has_loop({i} | chart.between(i, end), block, end)]
    if len(looping) == 1:
        return looping[0]
    if looping:
        raise Lost
    skipped = chart.between(block, end)
    for index in skipped:
        visits[index] += 1
        for name in chart.written[index]:
            thread.write(name, None)
    return end


def _deciding(code: Code) -> list[list[Instruction]]:
    """Of every block the instructions whose results some jump depends on, however indirectly."""
    knowable = _knowable(code)
    live: list[set[str]] = [set() for _ in code.blocks]
    relevant: list[list[Instruction]] = [[] for _ in code.blocks]
    changed = True
    while changed:
        changed = False
        for index in reversed(range(len(code.blocks))):
            block = code.blocks[index]
            after = set().union(*(live[target] for target in block.successors))
            relevant[index], before = _needed(block.instructions, after, knowable)
            changed |= before != live[index]
            live[index] = before
    return relevant


def _needed(
    instructions: Sequence[Instruction], after: set[str], knowable: set[str]
) -> tuple[list[Instruction], set[str]]:
    """Those that make what is needed after them, and what is needed before them."""
    live, found = set(after), []
    if instructions[-1].is_conditional:
        live |= names_read(instructions[-1]) & knowable
    for one in reversed(instructions):
        written = names_written(one)
        if written & live:
            found.append(one)
            if not one.guard:
                live -= written
            if is_understood(one):
                live |= names_read(one) & knowable
    return found[::-1], live


def _knowable(code: Code) -> set[str]:
    """Names that some instruction may make known; left to themselves the others stay unknown."""
    names: set[str] = set()
    hopeful = [one for one in code.instructions if is_understood(one)]
    while True:
        more = {
            name for one in hopeful if names_needed(one) <= names for name in names_written(one)
        }
        if more <= names:
            return names
        names |= more


def _meeting_points(successors: Sequence[Sequence[int]]) -> list[int | None]:
    """For each block the nearest one that all its ways lead to; the end has number len()."""
    count = len(successors)
    backward: list[list[int]] = [[] for _ in range(count + 1)]
    for index, following in enumerate(successors):
        for target in following or [count]:
            backward[count - target].append(count - index)
    over = dominators(backward)
    found: list[int | None] = []
    for index in range(count):
        beyond = over[count - index] - {count - index}
        nearest = max(beyond, key=lambda one: len(over[one]), default=None)
        found.append(None if nearest is None else count - nearest)
    return found
