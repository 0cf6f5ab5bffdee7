"""Plans launches of the kernels that make their taps themselves, by a span.

Like `plan.py` this needs neither CuPy nor a GPU.
"""

from dataclasses import dataclass
from functools import lru_cache
from struct import Struct

import torch
from torch import Tensor

from rednet.ops.cuda.launch_config import (
    MAX_GRID_X,
    MAX_GRID_Y,
    KernelSelector,
    LaunchConfig,
    Roles,
)
from rednet.ops.cuda.operand import ALIGNED, Geometry, Operand
from rednet.ops.cuda.plan import Launch, geometry_of, pack_problem
from rednet.ops.cuda.span_tiles import select_span_tile
from rednet.ops.cuda.tiles import VECTOR_BYTES, Tile
from rednet.ops.window import Window

_pack_span = Struct("Q2qQ").pack
ROLES = {"span_involution2d": Roles(image=0, taps=1), "span_grad_input": Roles(image=2, taps=1)}
"""Of the reduced images, `taps` is the position: they have the output's size."""


def plan_span(
    operator: str,
    images: Tensor,
    reduced: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    result: Tensor,
    window: Window,
) -> Launch:
    """Plan the launch of a kernel of `ROLES`.

    Args:
        operator: Name of the kernel.
        images: Input (N, C, H, W), or the output's gradient (N, C, Ho, Wo).
        reduced: Images (N, D, Ho, Wo).
        weight: Weight (G*K*K, D, 1, 1) of the span.
        bias: Its bias (G*K*K,), or None.
        result: Output (N, C, Ho, Wo), or the input's gradient (N, C, H, W).
        window: Window of the involution.

    Raises:
        ValueError: No tile fits; see `select_span_kernel`.
    """
    tensors = images, reduced, result
    config = select_span_kernel(
        operator, images.dtype, tuple(map(geometry_of, tensors)), geometry_of(weight), window
    )
    if config is None:
        raise ValueError(f"no tile of {operator} fits a window of {window}")
    problem = pack_problem(config, tensors) + pack_span(weight, bias)
    return Launch(config.kernel, config.grid, problem)


def pack_span(weight: Tensor, bias: Tensor | None) -> bytes:
    """Return a span as the members of struct SpanProblem in `kernels/cuda/span_problem.cuh`.

    The bias is contiguous.
    """
    row, column = (stride * weight.element_size() for stride in weight.stride()[:2])
    return _pack_span(weight.data_ptr(), row, column, 0 if bias is None else bias.data_ptr())


@lru_cache(maxsize=4096)
def select_span_kernel(
    operator: str,
    dtype: torch.dtype,
    geometries: tuple[Geometry, ...],
    weight: Geometry,
    window: Window,
) -> LaunchConfig | None:
    """Select kernel and grid for images, reduced images and result; None if no tile fits.

    Args:
        operator: Name of the kernel.
        dtype: Dtype of all tensors.
        geometries: Those of images, reduced images and result.
        weight: Geometry of the span's weight.
        window: Window of the involution.
    """
    operands = tuple(Operand.of(geometry, dtype.itemsize) for geometry in geometries)
    selector = _SpanSelector(
        *(operator, dtype, operands, ROLES[operator], window),
        groups_of_weight=weight.shape[0] // window.area,
        has_vectors=has_vectors(operands[1], weight),
    )
    tile = selector.tile()
    if tile is None:
        return None
    strides = tuple(operand.strides for operand in operands)
    kernel = selector.tiled_kernel(tile)
    return LaunchConfig(kernel, selector.tiled_grid(tile), strides, selector.sizes)


def has_vectors(reduced: Operand, weight: Geometry) -> bool:
    """Return whether both can be read in aligned vectors along D, and the weight is contiguous."""
    row_bytes = weight.shape[1] * reduced.itemsize
    depth = Operand.of(weight, reduced.itemsize)
    is_contiguous = depth.is_packed and depth.strides[0] in (0, row_bytes)
    is_aligned = row_bytes % VECTOR_BYTES == 0 and depth.misalignment == 0
    return is_contiguous and is_aligned and reduced.pixel_order == ALIGNED


@dataclass(frozen=True)
class _SpanSelector(KernelSelector):
    """Selects the kernel and the grid for images, reduced images and result.

    Attributes:
        groups_of_weight: Groups G.
        has_vectors: Whether reduced images and weight can be read in vectors.
    """

    groups_of_weight: int
    has_vectors: bool

    @property
    def groups(self) -> int:
        return self.groups_of_weight

    def tile(self) -> Tile | None:
        width = -(-self.operands[2].shape[3] // self.phases)
        itemsize = self.dtype.itemsize
        tile = select_span_tile(self.operator, width, self.group_width, itemsize, self.window)
        if tile is None:
            return None
        x, y, _ = self.tiled_grid(tile)
        return tile if x <= MAX_GRID_X and y <= MAX_GRID_Y else None

    def order(self, index: int, tile: Tile) -> int:
        if index != self.roles.taps:
            return super().order(index, tile)
        return ALIGNED if self.has_vectors else self.operands[index].loose_order

    def defines(self, threads: int) -> dict[str, str | int]:
        return {**super().defines(threads), "REDUCED_CHANNELS": self.operands[1].shape[1]}
