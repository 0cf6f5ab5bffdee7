"""What a kernel's machine code consists of, counted per thread.

Every instruction of a block is issued whenever a warp runs the block, with or without a predicate.
`weighed` counts take each block as often as a warp runs it; they are there only where the code
itself says how often that is (see `walk.py`).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from benchmarks.kernels.assembly import Code, Instruction, parse
from benchmarks.kernels.loops import Loop
from benchmarks.kernels.toolchain import Cubin, disassemble, resource_usage
from benchmarks.kernels.walk import walk

RESERVED_SHARED = 1024
"""Bytes of shared memory a block that the system takes, which machine code from sm_90 on counts."""

_PER_INSTRUCTION = {"FFMA": 1, "DFMA": 1, "FFMA2": 2, "FFMA32I": 1}
_CONVERSIONS = ("F2F", "F2FP", "I2F", "I2FP", "F2I", "F2IP", "HADD2.F32")


def _named(*bases: str) -> Callable[[Instruction], int]:
    return lambda one: int(one.base in bases)


def _wide_load(one: Instruction) -> int:
    return int(one.base in ("LDG", "LDGSTS", "LD") and "128" in one.name.split("."))


def _conversion(one: Instruction) -> int:
    return int(one.base in _CONVERSIONS or one.name.startswith("HADD2.F32"))


COUNTERS: dict[str, Callable[[Instruction], int]] = {
    "instructions": lambda one: int(one.base != "NOP"),
    "multiply_adds": lambda one: _PER_INSTRUCTION.get(one.base, 0),
    "global_loads": _named("LDG", "LDGSTS", "LD"),
    "global_loads_16": _wide_load,
    "global_stores": _named("STG", "ST"),
    "shared_loads": _named("LDS", "LDSM"),
    "shared_stores": _named("STS", "LDGSTS"),
    "local_loads": _named("LDL"),
    "local_stores": _named("STL"),
    "conversions": _conversion,
    "barriers": _named("BAR"),
    "calls": lambda one: int(one.is_call),
    "atomics": _named("ATOM", "ATOMG", "ATOMS", "RED"),
}
Counts = Mapping[str, float]


@dataclass(frozen=True)
class LoopFigures:
    """A loop that the compiler left.

    Attributes:
        depth: 1 for one that is in no other.
        rounds: Of a warp, on average; None where the code does not say.
        counts: Of what is in it, inner loops included, each instruction once.
    """

    depth: int
    rounds: float | None
    counts: Counts


@dataclass(frozen=True)
class Resources:
    """What a kernel takes of a multiprocessor.

    Attributes:
        registers: Per thread.
        stack_bytes: Per thread.
        local_bytes: Per thread, beside the stack.
        shared_bytes: Static, per block, without what the system reserves.
    """

    registers: int
    stack_bytes: int
    local_bytes: int
    shared_bytes: int


@dataclass(frozen=True)
class Figures(Resources):
    """Of one kernel on one architecture.

    Attributes:
        counts: Each instruction once.
        weighed: Each instruction as often as a warp runs it; None where that is unknown.
        loops: Outer ones first.
        branches: Jumps ahead under a condition: where it depends on memory or arguments, both ways
            are in the counts.
    """

    counts: Counts
    weighed: Counts | None
    loops: tuple[LoopFigures, ...]
    branches: int

    @property
    def basis(self) -> str:
        """What ratios rest on.

        "straight": there are no loops; "walked": their rounds are known; "hot loop": they are not,
        and the ratio is that of the innermost loop with the most multiply-adds; "static": nor are
        there multiply-adds in a loop, so that each instruction counts once.
        """
        if not self.loops:
            return "straight"
        if self.weighed is not None:
            return "walked"
        return "hot loop" if self.hot_loop is not None else "static"

    @property
    def hot_loop(self) -> LoopFigures | None:
        """The innermost loop with the most multiply-adds."""
        busy = [loop for loop in self.loops if loop.counts["multiply_adds"]]
        return max(busy, key=lambda loop: (loop.depth, loop.counts["multiply_adds"]), default=None)

    def per_multiply_add(self, what: str) -> float | None:
        """`what` a multiply-add on the best basis that there is; None without multiply-adds."""
        counts = self.counts if self.weighed is None else self.weighed
        if self.basis == "hot loop" and self.hot_loop is not None:
            counts = self.hot_loop.counts
        return counts[what] / counts["multiply_adds"] if counts["multiply_adds"] else None


def read_resources(cubin: Cubin) -> Resources:
    """What a kernel takes, without disassembling it."""
    return _resources(resource_usage(cubin), cubin)


def read_figures(cubin: Cubin, threads: int) -> Figures:
    """Disassembles and counts a kernel that runs in blocks of so many threads."""
    return count(parse(disassemble(cubin), cubin.name), read_resources(cubin), threads)


def count(code: Code, resources: Resources, threads: int) -> Figures:
    """Counts a disassembled kernel."""
    by_block = [_count(block.instructions) for block in code.blocks]
    once = [1.0] * len(by_block)
    weights = walk(code, threads) if code.loops else once
    return Figures(
        **asdict(resources),
        counts=_sum(by_block, once),
        weighed=None if weights is None else _sum(by_block, weights),
        loops=tuple(_loop_figures(code, loop, weights, by_block) for loop in code.loops),
        branches=_branches(code),
    )


def _resources(text: str, cubin: Cubin) -> Resources:
    """Numbers after e.g. `Function involution2d:`."""
    found = re.search(rf"Function {re.escape(cubin.name)}:\s*\n\s*(.+)", text)
    if found is None:
        raise ValueError(f"no resources of {cubin.name} in {text!r}")
    used = {key: int(number) for key, number in re.findall(r"(\w+):(\d+)", found[1])}
    reserved = RESERVED_SHARED if cubin.arch >= 90 and used["SHARED"] else 0
    return Resources(used["REG"], used["STACK"], used["LOCAL"], used["SHARED"] - reserved)


def _count(instructions: Sequence[Instruction]) -> Counts:
    return {name: sum(map(counter, instructions)) for name, counter in COUNTERS.items()}


def _sum(by_block: Sequence[Counts], weights: Sequence[float]) -> Counts:
    return {
        name: sum(weight * own[name] for weight, own in zip(weights, by_block, strict=True))
        for name in COUNTERS
    }


def _loop_figures(
    code: Code, loop: Loop, weights: Sequence[float] | None, by_block: Sequence[Counts]
) -> LoopFigures:
    inside = [float(index in loop.blocks) for index in range(len(by_block))]
    rounds = None if weights is None else weights[loop.header]
    return LoopFigures(len(code.loops_around(loop.header)), rounds, _sum(by_block, inside))


def _branches(code: Code) -> int:
    """Blocks with two ways ahead, but for those that leave a loop or jump back in it."""
    turning = {index for loop in code.loops for index in loop.latches}
    return sum(
        len(block.successors) > 1 and index not in turning
        for index, block in enumerate(code.blocks)
    )
