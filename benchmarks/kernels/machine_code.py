"""Registers, memory and opcodes of a compiled kernel, as NVIDIA's tools print them.

https://docs.nvidia.com/cuda/cuda-binary-utilities/ lists the instructions.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from benchmarks.kernels.toolchain import Cubin, resource_usage

RESERVED_SHARED = 1024
"""Bytes of shared memory per block that the system reserves and cubins from sm_90 on include."""

_LABEL = re.compile(r"(\.L_\w+):")
_JUMP = re.compile(r"BRA(?:\.U)?[^`]*`\((\.L_\w+)\)")
_OPCODE = re.compile(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P[0-9T]+\s+)?([A-Z]\w*)")


@dataclass(frozen=True)
class Resources:
    """What a kernel needs on a multiprocessor.

    Attributes:
        registers: Registers per thread.
        stack_bytes: Bytes of stack per thread.
        local_bytes: Bytes of local memory per thread, without the stack.
        shared_bytes: Bytes of static shared memory per block, without the reserved ones.
    """

    registers: int
    stack_bytes: int
    local_bytes: int
    shared_bytes: int


def read_resources(cubin: Cubin) -> Resources:
    """Return what a kernel needs; this does not disassemble it."""
    text = resource_usage(cubin)
    found = re.search(rf"Function {re.escape(cubin.name)}:\s*\n\s*(.+)", text)
    if found is None:
        raise ValueError(f"no resources of {cubin.name} in {text!r}")
    used = {key: int(number) for key, number in re.findall(r"(\w+):(\d+)", found[1])}
    reserved = RESERVED_SHARED if cubin.arch >= 90 and used["SHARED"] else 0
    return Resources(used["REG"], used["STACK"], used["LOCAL"], used["SHARED"] - reserved)


def count_opcodes(disassembly: str) -> Counter[str]:
    """Count the instructions by opcode, the name without modifiers, each instruction once.

    NOP is left out: it only pads the code.
    """
    opcodes = Counter(_OPCODE.findall(disassembly))
    del opcodes["NOP"]
    return opcodes


def find_loops(disassembly: str) -> tuple[list[Counter[str]], list[tuple[int, int]]]:
    """Return the opcodes of each line, and of each loop its first line and the one after its last.

    The endless loop that follows the last EXIT, a jump alone, is left out.
    """
    labels: dict[str, int] = {}
    lines: list[Counter[str]] = []
    loops: list[tuple[int, int]] = []
    for line in disassembly.splitlines():
        if label := _LABEL.match(line):
            labels[label[1]] = len(lines)
        lines.append(count_opcodes(line))
        jump = _JUMP.search(line)
        if jump and len(lines) - labels.get(jump[1], len(lines)) > 2:
            loops.append((labels[jump[1]], len(lines)))
    return lines, loops


def count_issued(disassembly: str, rounds: float) -> tuple[Counter[str], int]:
    """Count the instructions by opcode, as often as a thread issues them.

    This is an upper bound: what a forward jump may skip is counted.

    Args:
        disassembly: The machine code; no loop may lie in another.
        rounds: Rounds of every loop.

    Returns:
        The counts and the number of loops.
    """
    lines, loops = find_loops(disassembly)
    for start, end in loops:
        for counts in lines[start:end]:
            for opcode in counts:
                counts[opcode] *= rounds
    return sum(lines, Counter()), len(loops)


def count_nested(disassembly: str, rounds: Sequence[float]) -> Counter[str]:
    """Count the instructions by opcode as `count_issued` does, where loops lie in one another.

    Args:
        disassembly: The machine code.
        rounds: Rounds of a loop in no other, of one in such a loop, and so on.

    Raises:
        ValueError: Loops are nested more deeply.
    """
    lines, jumps = find_loops(disassembly)
    loops = dict(jumps)  # of several jumps to one start the last one counts
    total: Counter[str] = Counter()
    for number, counts in enumerate(lines):
        depth = sum(start <= number < end for start, end in loops.items())
        if depth > len(rounds):
            raise ValueError(f"{depth} loops lie in one another, {len(rounds)} are known")
        for opcode, times in counts.items():
            total[opcode] += times * prod(rounds[:depth])
    return total
