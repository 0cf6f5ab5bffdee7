"""What an involution must move and compute at least, and how long that takes by the datasheets.

Every tensor is counted once: input, weight and output of the forward pass, or what takes their
places in the two gradients, which move and compute the same.
"""

from dataclasses import dataclass

from benchmarks.gpus import Gpu
from benchmarks.layers import Layer

ITEM_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "float64": 8}
ISSUE_SLOTS = 4
"""Instructions that a multiprocessor can issue in a cycle, each for one warp."""


@dataclass(frozen=True)
class Roofline:
    """Least seconds for one image.

    Attributes:
        memory: For its bytes.
        arithmetic: For its multiplications and additions.
        issue: To issue the instructions of our kernel's machine code: an estimate, as if all
            multiprocessors were always busy and nothing ever waited.
    """

    memory: float
    arithmetic: float
    issue: float | None

    @property
    def seconds(self) -> float:
        """By the roofline, which knows no instructions."""
        return max(self.memory, self.arithmetic)

    @property
    def limit(self) -> str:
        """Which of the two decides."""
        return "memory" if self.memory >= self.arithmetic else "arithmetic"


def bytes_per_image(layer: Layer, dtype: str) -> int:
    """That one operator must read or write."""
    return layer.elements(1) * ITEM_BYTES[dtype]


def multiply_adds_per_image(layer: Layer) -> int:
    """Of one operator."""
    return layer.operations(1) // 2


def roofline(layer: Layer, dtype: str, gpu: Gpu, instructions: float | None) -> Roofline:
    """Of one operator on one image.

    Args:
        layer: What it computes.
        dtype: "float32", "float16", "bfloat16" or "float64".
        gpu: Where.
        instructions: That all warps of its launch are issued, None where that is unknown.
    """
    flops = gpu.flops64 if dtype == "float64" else gpu.flops
    rate = gpu.multiprocessors * ISSUE_SLOTS * gpu.clock
    return Roofline(
        memory=bytes_per_image(layer, dtype) / gpu.bandwidth,
        arithmetic=layer.operations(1) / flops,
        issue=None if instructions is None else instructions / rate,
    )
