"""Instructions of a disassembled kernel and its basic blocks.

https://docs.nvidia.com/cuda/cuda-binary-utilities/ names the instructions.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from benchmarks.kernels.loops import Loop, find_loops

_LINE = re.compile(r"/\*[0-9a-f]{4,}\*/\s+(?:(@!?U?P[0-9T]+)\s+)?([A-Z][\w.]*)\s*(.*?)\s*;")
_LABEL = re.compile(r"^\s*(\.L_[\w.$]*|\$[\w.$]+):\s*$")
_PREDICATE = re.compile(r"!?U?P\d")
_TARGET = re.compile(r"`\(([^)]+)\)")
_ENDS = ("EXIT", "RET", "BRA", "BRX", "BRXU", "JMP", "JMX", "JMXU", "BSYNC", "KILL")


@dataclass(frozen=True)
class Instruction:
    """One instruction.

    Attributes:
        guard: The predicate that it is subject to, e.g. "@!P0", or "".
        name: With its modifiers, e.g. "LDG.E.128".
        operands: As text.
    """

    guard: str
    name: str
    operands: tuple[str, ...]

    @property
    def base(self) -> str:
        """The name without modifiers."""
        return self.name.partition(".")[0]

    @property
    def target(self) -> str | None:
        """The label that it names."""
        found = _TARGET.search(", ".join(self.operands))
        return found[1] if found else None

    @property
    def conditions(self) -> list[str]:
        """What its operands make a jump depend on, as in `BRA.U UP0, target`."""
        words = [word for operand in self.operands for word in operand.partition("`")[0].split()]
        found = [word for word in words if _PREDICATE.fullmatch(word)]
        return found + [part for part in self.name.split(".") if part in ("DIV", "CONV")]

    @property
    def is_call(self) -> bool:
        """Whether it returns; the compiler also writes jumps to its own labels as CALL."""
        return self.base == "CALL" and not (self.target or "").startswith(".L_")

    @property
    def is_end(self) -> bool:
        """Whether a block ends with it."""
        return self.base in _ENDS or (self.base == "CALL" and not self.is_call)

    @property
    def is_conditional(self) -> bool:
        """Whether it may be passed without effect."""
        return self.guard not in ("", "@PT", "@UPT") or bool(self.conditions)


@dataclass
class Block:
    """Instructions that run one after the other.

    Attributes:
        instructions: In order.
        successors: Indices of the blocks that may follow.
        target: Index of the one that its last instruction jumps to.
    """

    instructions: list[Instruction]
    successors: list[int] = field(default_factory=list)
    target: int | None = None


@dataclass(frozen=True)
class Code:
    """The reachable part of a kernel; the padding behind it is none."""

    blocks: list[Block]
    loops: list[Loop]

    @property
    def instructions(self) -> Iterator[Instruction]:
        """All of them."""
        for block in self.blocks:
            yield from block.instructions

    def loops_around(self, block: int) -> list[Loop]:
        """The loops that a block is in."""
        return [loop for loop in self.loops if block in loop.blocks]


def parse(text: str, name: str) -> Code:
    """Reads what nvdisasm printed of the kernel `name`.

    Raises:
        ValueError: It is not in there, or jumps where its registers say.
    """
    lines = _lines_of(text, name)
    blocks = _link(*_cut(lines))
    blocks = _reachable(blocks)
    return Code(blocks, find_loops([block.successors for block in blocks]))


def _lines_of(text: str, name: str) -> list[str | Instruction]:
    """Labels and instructions of the kernel's section."""
    start = text.find(f"\n.text.{name}:")
    if start < 0:
        raise ValueError(f"the disassembly has no kernel {name}")
    end = text.find("//-----", start)
    lines: list[str | Instruction] = []
    for line in text[start : end if end >= 0 else None].splitlines():
        label, found = _LABEL.match(line), _LINE.search(line)
        if label:
            lines.append(label[1])
        elif found:
            operands = tuple(part.strip() for part in found[3].split(",") if part.strip())
            lines.append(Instruction(found[1] or "", found[2], operands))
    return lines


def _cut(lines: Sequence[str | Instruction]) -> tuple[list[Block], dict[str, int]]:
    """Blocks end at labels and jumps; also says which label is which block's."""
    blocks: list[Block] = [Block([])]
    labels: dict[str, int] = {}
    for line in lines:
        if isinstance(line, str):
            if blocks[-1].instructions:
                blocks.append(Block([]))
            labels[line] = len(blocks) - 1
            continue
        _require_target(line)
        blocks[-1].instructions.append(line)
        if line.is_end:
            blocks.append(Block([]))
    return blocks, labels


def _link(blocks: list[Block], labels: dict[str, int]) -> list[Block]:
    """Finds the successors of every block."""
    meeting: dict[str, str] = {}
    for index, block in enumerate(blocks):
        for one in block.instructions:
            if one.base == "BSSY" and one.target:
                meeting[one.operands[0]] = one.target
            elif (one.is_call or one.base == "WARPSYNC") and one.target in labels:
                block.successors.append(labels[one.target])
        block.successors += _after(block, index, labels, meeting)
        block.successors = [target for target in block.successors if target < len(blocks)]
    return blocks


def _after(
    block: Block, index: int, labels: dict[str, int], meeting: dict[str, str]
) -> Iterator[int]:
    last = block.instructions[-1] if block.instructions else None
    conditional = last is not None and last.is_conditional
    if last is not None and last.base == "BSYNC" and last.operands[0] in meeting:
        yield labels[meeting[last.operands[0]]]
        if not conditional:
            return
    if last is None or conditional or not last.is_end or last.base == "BSYNC":
        yield index + 1
    if last is not None and last.is_end and last.target in labels:
        block.target = labels[last.target]
        yield block.target


def _require_target(jump: Instruction) -> None:
    """Raises ValueError for a jump whose target is in no label."""
    if jump.base in ("BRX", "BRXU", "JMX", "JMXU"):
        raise ValueError(f"{jump.name} {', '.join(jump.operands)} may jump anywhere")


def _reachable(blocks: Sequence[Block]) -> list[Block]:
    """The blocks that the first one leads to, in order, renumbered."""
    reached, ahead = {0}, [0]
    while ahead:
        new = set(blocks[ahead.pop()].successors) - reached
        reached |= new
        ahead += new
    number: dict[int | None, int] = {old: new for new, old in enumerate(sorted(reached))}
    return [
        Block(
            blocks[old].instructions,
            sorted({number[to] for to in blocks[old].successors}),
            number.get(blocks[old].target),
        )
        for old in sorted(reached)
    ]
