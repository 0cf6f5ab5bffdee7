"""What the operator's benchmark measures: a layer in one precision on one device."""

from dataclasses import dataclass

import torch

from benchmarks.layers import Layer

DTYPES = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "fp64": torch.float64,
}


@dataclass(frozen=True)
class OperatorCase:
    """A layer in one precision.

    Attributes:
        layer: The layer whose involution is measured.
        precision: A key of `DTYPES`.
        batch: Images per batch.
        device: Device of the tensors.
        threads: Threads that torch uses.
    """

    layer: Layer
    precision: str
    batch: int
    device: torch.device
    threads: int

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the tensors."""
        return DTYPES[self.precision]

    @property
    def bytes_moved(self) -> int:
        """Bytes that one operator has to read and write."""
        return self.layer.elements(self.batch) * self.dtype.itemsize
