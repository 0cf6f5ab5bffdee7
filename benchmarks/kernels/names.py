"""Which registers and predicates an instruction reads and writes."""

import re

from benchmarks.kernels.assembly import Instruction

NAME = re.compile(r"U?R\d+|U?P\d\b")
REGISTER = re.compile(r"U?R\d+")
PREDICATE = re.compile(r"U?P\d")
_NO_RESULT = ("ST", "STG", "STS", "STL", "RED", "BAR", "BRA", "EXIT", "LDGSTS", "LDGDEPBAR")
_WIDE = {"64", "WIDE", "F64", "CS2R", "UCS2R", "DFMA", "DADD", "DMUL", "FFMA2", "FADD2", "FMUL2"}


def names_read(one: Instruction) -> set[str]:
    """Registers and predicates among its sources and its guard."""
    found = set(NAME.findall(one.guard))
    for operand in one.operands[0 if one.base in _NO_RESULT else 1 :]:
        for name in NAME.findall(operand.partition("`")[0]):
            found |= {name, next_register(name)} if "WIDE" in one.name else {name}
    return found


def names_written(one: Instruction) -> set[str]:
    """Registers and predicates that may change: rather too many than too few."""
    if one.base in _NO_RESULT:
        return set()
    leading = [operand.lstrip("!").removesuffix(".reuse") for operand in one.operands[:3]]
    names = {name for name in leading if PREDICATE.fullmatch(name)}
    if "PR" in leading:
        names |= {f"P{index}" for index in range(7)}
    first = next((name for name in leading if REGISTER.fullmatch(name)), None)
    if first is not None and not makes_predicates(one):
        kind = first.rstrip("0123456789")
        start = int(first.removeprefix(kind))
        names |= {f"{kind}{start + more}" for more in range(_width(one))}
    return names


def makes_predicates(one: Instruction) -> bool:
    """Whether its results are predicates, which may be known where a source is not."""
    return "SETP" in one.base or "PLOP3" in one.base


def _width(one: Instruction) -> int:
    parts = set(one.name.split("."))
    if "256" in parts:
        return 8
    if "128" in parts:
        return 4
    return 2 if parts & _WIDE else 1


def next_register(register: str) -> str:
    """The upper half of a pair."""
    kind = register.rstrip("0123456789")
    return f"{kind}{int(register.removeprefix(kind)) + 1}"
