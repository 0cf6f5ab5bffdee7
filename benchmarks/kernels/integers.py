"""The integer instructions that decide where a thread goes, on numbers that may be unknown.

A register or predicate that is not in `Thread.values` is unknown; what an instruction makes of an
unknown number is unknown, and so is what an instruction that is not in `OPERATIONS` makes.
"""

import re
import struct
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from benchmarks.kernels.assembly import Instruction
from benchmarks.kernels.names import (
    PREDICATE,
    REGISTER,
    makes_predicates,
    next_register,
)

if TYPE_CHECKING:
    from benchmarks.kernels.thread import Thread

MASK = 0xFFFFFFFF
Value = int | None

_SPECIAL = {"SR_TID.X": None, "SR_TID.Y": 0, "SR_TID.Z": 0, "SRZ": 0}
_COMPARE: dict[str, Callable[[int, int], bool]] = {
    "NE": lambda one, other: one != other,
    "EQ": lambda one, other: one == other,
    "LT": lambda one, other: one < other,
    "LE": lambda one, other: one <= other,
    "GT": lambda one, other: one > other,
    "GE": lambda one, other: one >= other,
}


def names_needed(one: Instruction) -> set[str]:
    """Registers that must be known for any result to be; a guard and predicates may not be."""
    if makes_predicates(one):
        return set()
    text = " ".join(one.operands[1:])
    return set(REGISTER.findall(text))


def is_understood(one: Instruction) -> bool:
    """Whether its results may be known."""
    special = {"S2R", "CS2R"} & {one.base, one.base.removeprefix("U")}
    if special:
        return one.operands[1] in _SPECIAL
    if _operation(one) is None:
        return False
    return makes_predicates(one) or not any("[" in operand for operand in one.operands)


Results = dict[str, Value]


def results_of(thread: "Thread", one: Instruction) -> Results | None:
    """What an instruction makes of what the thread knows; None where nothing is known."""
    operation = _operation(one)
    if operation is None or not is_understood(one):
        return None
    try:
        return operation(thread, one.name.split("."), one.operands)
    except (IndexError, TypeError, ValueError):  # a form with other operands
        return None


def _operation(one: Instruction) -> "Operation | None":
    if {"X", "EX", "64"} & set(one.name.split(".")):
        return None
    return OPERATIONS.get(one.base) or OPERATIONS.get(one.base.removeprefix("U"))


def _sources(operands: Sequence[str]) -> list[str]:
    """Without the result and the predicates beside it."""
    return [operand for operand in operands[1:] if not re.fullmatch(r"!?U?P[\dT]", operand)]


def _known(thread: "Thread", operands: Sequence[str]) -> list[int] | None:
    values = [thread.read(operand) for operand in operands]
    return None if None in values else [value for value in values if value is not None]


def _plain(function: Callable[..., int]) -> Callable[..., Results | None]:
    """An operation whose result depends on its sources alone."""

    def operation(thread: "Thread", parts: list[str], operands: Sequence[str]) -> Results | None:
        values = _known(thread, _sources(operands))
        return None if values is None else {operands[0]: function(*values)}

    return operation


def _signed(value: int) -> int:
    return value - 2**32 if value >= 2**31 else value


def _move(thread: "Thread", parts: list[str], operands: Sequence[str]) -> Results:
    return {operands[0]: thread.read(operands[1])}


def _special(thread: "Thread", parts: list[str], operands: Sequence[str]) -> Results:
    value = thread.index if operands[1] == "SR_TID.X" else _SPECIAL.get(operands[1])
    if parts[0] == "S2R" or "32" in parts:
        return {operands[0]: value}
    return {operands[0]: value, next_register(operands[0]): value}


def _multiply_add(thread: "Thread", parts: list[str], operands: Sequence[str]) -> Results | None:
    sources = _sources(operands)
    values = _known(thread, sources)
    if values is None:
        return None
    one, other, added = values
    if "U32" not in parts and {"HI", "WIDE"} & set(parts):
        one, other = _signed(one), _signed(other)
    if "WIDE" in parts:
        upper = 0 if sources[2] in ("RZ", "URZ") else thread.read(next_register(sources[2]))
        if upper is None or (added and not REGISTER.match(sources[2])):
            return None
        total = one * other + (upper << 32 | added)
        return {operands[0]: total & MASK, next_register(operands[0]): total >> 32 & MASK}
    return {operands[0]: ((one * other >> 32) if "HI" in parts else one * other) + added}


def _logic(thread: "Thread", parts: list[str], operands: Sequence[str]) -> Results | None:
    """LOP3.LUT, by its table; a predicate before the result says whether any bit is set."""
    ahead = 1 if PREDICATE.fullmatch(operands[0]) or operands[0] == "PT" else 0
    values = _known(thread, operands[ahead + 1 : ahead + 5])
    if values is None or "LUT" not in parts:
        return None
    *words, table = values
    result = 0
    for index in range(8):
        if table >> index & 1:
            chosen = [word if index >> (2 - i) & 1 else ~word for i, word in enumerate(words)]
            result |= chosen[0] & chosen[1] & chosen[2]
    made: Results = {operands[ahead]: result & MASK}
    return {**made, operands[0]: int(bool(result & MASK))} if ahead else made


def _shift(thread: "Thread", parts: list[str], operands: Sequence[str]) -> Results | None:
    values = _known(thread, operands[1:4])
    if values is None:
        return None
    low, count, high = values
    if "R" in parts and "HI" in parts and low == 0 and count < 32:
        return {operands[0]: (_signed(high) if "S32" in parts else high) >> count}
    if "L" in parts and "HI" not in parts and high == 0 and count < 32:
        return {operands[0]: low << count}
    return None


def _scaled_add(thread: "Thread", parts: list[str], operands: Sequence[str]) -> Results | None:
    """LEA R0, a, b, s is (a << s) + b; LEA.HI takes what a << s has beyond 32 bits."""
    values = _known(thread, _sources(operands))
    if values is None:
        return None
    if "HI" not in parts:
        one, added, count = values
        return {operands[0]: (one << count) + added}
    if "SX32" in parts:
        one, added, count = values
        return {operands[0]: (_signed(one) >> (32 - count)) + added}
    one, added, upper, count = values
    return {operands[0]: ((upper << 32 | one) << count >> 32) + added}


def _extremum(thread: "Thread", parts: list[str], operands: Sequence[str]) -> Results | None:
    values, lesser = _known(thread, operands[1:3]), thread.holds(operands[3])
    if values is None or lesser is None:
        return None
    numbers = values if "U32" in parts else [_signed(value) for value in values]
    return {operands[0]: min(numbers) if lesser else max(numbers)}


def _select(thread: "Thread", parts: list[str], operands: Sequence[str]) -> Results:
    first = thread.holds(operands[3])
    return {operands[0]: None if first is None else thread.read(operands[1 if first else 2])}


def _compare(thread: "Thread", parts: list[str], operands: Sequence[str]) -> Results | None:
    """ISETP.LT.AND P0, P1, a, b, P2: P0 = a < b and P2, P1 = a >= b and P2."""
    values, beside = _known(thread, operands[2:4]), thread.holds(operands[4])
    found = None
    if values is not None:
        numbers = values if "U32" in parts else [_signed(value) for value in values]
        found = _COMPARE[parts[1]](numbers[0], numbers[1])
    opposite = None if found is None else not found
    return {
        operands[0]: _combined(parts, found, beside),
        operands[1]: _combined(parts, opposite, beside),
    }


def _combined(parts: list[str], one: bool | None, other: bool | None) -> Value:
    if "AND" in parts and False in (one, other):
        return 0
    if "OR" in parts and True in (one, other):
        return 1
    if one is None or other is None:
        return None
    return int(one != other) if "XOR" in parts else int(one and other)


def _predicate_logic(thread: "Thread", parts: list[str], operands: Sequence[str]) -> Results | None:
    """PLOP3.LUT P0, P1, Pa, Pb, Pc, table, other table."""
    one, other, third = (thread.holds(operand) for operand in operands[2:5])
    if one is None or other is None or third is None:
        return None
    index = one << 2 | other << 1 | third
    return {
        result: int(table, 16) >> index & 1
        for result, table in zip(operands[:2], operands[5:7], strict=True)
    }


def _halves(thread: "Thread", parts: list[str], operands: Sequence[str]) -> Results | None:
    """HFMA2 R0, -RZ, RZ, 0, 3.57e-07 is how a constant of two halves is loaded."""
    if list(operands[1:3]) != ["-RZ", "RZ"] or len(operands) != 5:
        return None
    try:
        upper, lower = (struct.unpack("<H", struct.pack("<e", float(n)))[0] for n in operands[3:])
    except (ValueError, OverflowError):
        return None
    return {operands[0]: upper << 16 | lower}


Operation = Callable[["Thread", list[str], Sequence[str]], Results | None]
OPERATIONS: dict[str, Operation] = {
    "MOV": _move,
    "MOV32I": _move,
    "R2UR": _move,
    "S2R": _special,
    "CS2R": _special,
    "IADD": _plain(lambda *terms: sum(terms)),
    "IADD3": _plain(lambda *terms: sum(terms)),
    "VIADD": _plain(lambda *terms: sum(terms)),
    "IABS": _plain(lambda value: abs(_signed(value))),
    "IMAD": _multiply_add,
    "LOP3": _logic,
    "SHF": _shift,
    "LEA": _scaled_add,
    "IMNMX": _extremum,
    "VIMNMX": _extremum,
    "SEL": _select,
    "ISETP": _compare,
    "PLOP3": _predicate_logic,
    "HFMA2": _halves,
}
