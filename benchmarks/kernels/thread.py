"""A thread of a kernel: what is known of its registers and predicates."""

from dataclasses import dataclass, field

from benchmarks.kernels.assembly import Instruction
from benchmarks.kernels.integers import MASK, Value, is_understood, results_of
from benchmarks.kernels.names import NAME, names_written


@dataclass
class Thread:
    """What is known of a thread's registers and predicates.

    Attributes:
        index: threadIdx.x.
        values: By name, predicates as 0 or 1.
    """

    index: int
    values: dict[str, int] = field(default_factory=dict)

    def read(self, operand: str) -> Value:
        """An operand's 32 bits."""
        text = operand.removesuffix(".reuse")
        if text[0] in "-~" and not text[1:].startswith("0x"):
            value = self.read(text[1:])
            return None if value is None else (-value if text[0] == "-" else ~value) & MASK
        if text in ("RZ", "URZ", "SRZ"):
            return 0
        if text.startswith(("0x", "-0x")):
            return int(text, 16) & MASK
        return self.values.get(text)

    def holds(self, predicate: str) -> bool | None:
        """Whether a predicate such as "!P0" is true."""
        text = predicate.removeprefix("@")
        if text.startswith("!"):
            value = self.holds(text[1:])
            return None if value is None else not value
        if text in ("", "PT", "UPT"):
            return True
        known = self.values.get(text)
        return None if known is None else bool(known)

    def write(self, name: str, value: Value) -> None:
        """Makes a register or predicate known, or unknown."""
        if value is None:
            self.values.pop(name, None)
        elif NAME.fullmatch(name):
            self.values[name] = value & MASK

    def run(self, one: Instruction) -> None:
        """Does what an instruction does, or forgets what it may change."""
        guard = self.holds(one.guard) if is_understood(one) else None
        if guard is False:
            return
        results = results_of(self, one) if guard else None
        for name in names_written(one):
            self.values.pop(name, None)
        for name, value in (results or {}).items():
            self.write(name, value)
