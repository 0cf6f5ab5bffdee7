"""How an operator's tensors lie in memory, which decides how a kernel reads and writes them."""

from dataclasses import dataclass
from typing import NamedTuple

from rednet.ops.cuda.tiles import VECTOR_BYTES

# The values of enum Order in kernels/cuda/problem.cuh.
ALIGNED, PACKED, BY_CHANNEL, BY_COLUMN = range(4)


class Geometry(NamedTuple):
    """A tensor without its values.

    Attributes:
        shape: Sizes.
        strides: Strides in elements.
        misalignment: Address of the first element modulo `VECTOR_BYTES`.
    """

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    misalignment: int


@dataclass(frozen=True)
class Operand:
    """The memory layout of an argument or a result.

    Attributes:
        shape: Sizes (N, C, H, W).
        strides: Strides in bytes; 0 along a dimension of one element.
        misalignment: Address of the first element modulo `VECTOR_BYTES`.
        itemsize: Bytes of an element.
    """

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    misalignment: int
    itemsize: int

    @classmethod
    def of(cls, geometry: Geometry, itemsize: int) -> "Operand":
        """Convert strides to bytes; those of single elements, which may be anything, to 0."""
        sides = zip(geometry.shape, geometry.strides, strict=True)
        strides = tuple(stride * itemsize if size > 1 else 0 for size, stride in sides)
        return cls(geometry.shape, strides, geometry.misalignment, itemsize)

    @property
    def image_bytes(self) -> int:
        """Bytes from an image's first element to its last."""
        sides = zip(self.shape[1:], self.strides[1:], strict=True)
        return sum((size - 1) * stride for size, stride in sides)

    @property
    def is_packed(self) -> bool:
        """Whether the channels of a pixel are contiguous."""
        return self.shape[1] == 1 or self.strides[1] == self.itemsize

    @property
    def pixel_order(self) -> int:
        """Order of an image: ALIGNED if every pixel starts at a multiple of `VECTOR_BYTES`."""
        batch, _, row, column = self.strides
        places = self.misalignment, batch, row, column
        is_aligned = self.is_packed and not any(place % VECTOR_BYTES for place in places)
        return ALIGNED if is_aligned else self.loose_order

    @property
    def tap_order(self) -> int:
        """Order of a weight: ALIGNED if its pixels are multiples of `VECTOR_BYTES` apart."""
        _, _, row, column = self.strides
        if not self.is_packed:
            return self.loose_order
        return PACKED if row % VECTOR_BYTES or column % VECTOR_BYTES else ALIGNED

    @property
    def loose_order(self) -> int:
        """Order of a tensor that is read element by element, along its smallest stride."""
        _, channel, _, column = self.strides
        return BY_COLUMN if column < channel else BY_CHANNEL
