"""Plans launches of the kernels of a span's gradients by products of banded matrices.

Tensor cores sum the gradients of the taps so fast that two kernels do so, each for itself: one sums
over all groups for the gradient of the reduced images, one over all tiles for weight and bias. The
latter's sums go to a workspace, a place for each block.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from struct import Struct

import torch
from torch import Tensor

from rednet.ops.cuda.device import TENSOR_CORES
from rednet.ops.cuda.launch_config import GRADIENT_OPERATORS as OPERATORS
from rednet.ops.cuda.launch_config import Kernel, KernelSelector, LaunchConfig, Roles
from rednet.ops.cuda.operand import ALIGNED, Geometry, Operand
from rednet.ops.cuda.plan import Launch, geometry_of, pack_problem
from rednet.ops.cuda.span_plan import has_vectors
from rednet.ops.cuda.tiles import SHARED_BYTES, VECTOR_BYTES, Tile, round_up
from rednet.ops.span_sizes import SpanSizes
from rednet.ops.window import Window

DTYPES = (torch.float16, torch.bfloat16)
CHANNELS = 16
"""Channels of a group, which a product sums."""
PLACES = 8
"""Places of taps in a row of the window."""
MAX_KERNEL_SIZE = 7
MAX_DEPTH, MAX_STRIDED_DEPTH = 64, 32
"""Reduced channels for whose sums a thread has registers, the latter at larger strides."""
SPILLING = (86, 89, 120)
"""Architectures for which the compiler spills registers at larger strides and greater depths."""
UNIT = (4, 8)
"""Rows and columns of pixels that a warp computes at a time."""
SIZES = ((8, 16), (8, 8))
BLOCKS = 512
"""Blocks of the gradients of weight and bias, or a few less."""
WARP = 32
ITEMSIZE = 2

_pack_rest = Struct("Q4qQ2qQq").pack


def unavailable_reason(
    sizes: SpanSizes, dtype: torch.dtype, architecture: int, tensors: Sequence[Tensor] = ()
) -> str | None:
    """Return why the kernels cannot run, or None if they can.

    Args:
        sizes: Sizes of the layer.
        dtype: Dtype of all tensors.
        architecture: Compute capability of the GPU, such as 80 or 90.
        tensors: Gradient of the output, input, reduced images and weight; or none, for images in
            channels_last.
    """
    if dtype not in DTYPES or architecture < TENSOR_CORES:
        return "tensor cores sum the gradients of taps in 16 bits, from an A100 on"
    if sizes.channels != CHANNELS * sizes.groups:
        return f"groups have {sizes.channels // sizes.groups} channels, not {CHANNELS}"
    if sizes.reduced_channels < 1 or sizes.reduced_channels * ITEMSIZE % VECTOR_BYTES:
        return f"{sizes.reduced_channels} reduced channels are no whole vectors"
    window = sizes.window
    if window.kernel_size > MAX_KERNEL_SIZE or _places(window) > PLACES:
        return f"the taps of a window of {window} have more than {PLACES} places"
    is_deep = window.stride > 1 and sizes.reduced_channels > MAX_STRIDED_DEPTH
    if is_deep and architecture in SPILLING:
        return f"{sizes.reduced_channels} reduced channels need too many registers at stride > 1"
    if any(select_tile(operator, 1, sizes) is None for operator in OPERATORS):
        return f"no tile for a window of {window} fits"
    return _tensor_reason(tensors) if tensors else None


def _tensor_reason(tensors: Sequence[Tensor]) -> str | None:
    if any(tensor.numel() == 0 for tensor in tensors):
        return "the images are empty"
    return _geometry_reason(tuple(map(geometry_of, tensors)))


@lru_cache(maxsize=4096)
def _geometry_reason(geometries: tuple[Geometry, ...]) -> str | None:
    grad, input, reduced = (Operand.of(geometry, ITEMSIZE) for geometry in geometries[:3])
    is_aligned = grad.pixel_order == input.pixel_order == ALIGNED
    if not is_aligned or not has_vectors(reduced, geometries[3]):
        return "the images are not channels_last, or not aligned"
    return None


def _places(window: Window) -> int:
    """Return how many places the taps of a row have: `first_place(S)` of `tap_bands.cuh`."""
    ends: dict[int, int] = {}
    for tap in range(window.kernel_size):
        place, phase = divmod(tap * window.dilation, window.stride)
        ends[phase] = place + 1
    return sum(ends.values())


def plan_banded_gradients(
    tensors: tuple[Tensor, Tensor, Tensor], weight: Tensor, window: Window
) -> tuple[list[Launch], Tensor, Tensor]:
    """Plan the launches for the output's gradient, the input and the reduced images.

    Returns:
        The launches; what they write: the gradient (N, D, Ho, Wo) of the reduced images; and parts
        (parts, G*K*K, D + 1) in float32 of the gradients of weight and bias, the last column.
    """
    reduced = tensors[2]
    geometries, matrix = tuple(map(geometry_of, tensors)), geometry_of(weight)
    configs = [
        select_kernel(operator, reduced.dtype, geometries, matrix, window) for operator in OPERATORS
    ]
    parts = configs[1].grid[0]
    result = torch.empty_like(reduced, memory_format=torch.channels_last)
    sums = reduced.new_empty((parts, weight.shape[0], weight.shape[1] + 1), dtype=torch.float32)
    strides = tuple(stride * ITEMSIZE for stride in result.stride())
    rest = _pack_rest(
        *(reduced.data_ptr(), *(stride * ITEMSIZE for stride in reduced.stride())),
        *(weight.data_ptr(), *(stride * ITEMSIZE for stride in weight.stride()[:2])),
        *(sums.data_ptr(), 0),
    )
    launches = []
    for config in configs:
        config = config._replace(strides=(*config.strides[:2], strides))
        problem = pack_problem(config, (*tensors[:2], result)) + rest
        launches.append(Launch(config.kernel, config.grid, problem))
    return launches, result, sums


@lru_cache(maxsize=4096)
def select_kernel(
    operator: str,
    dtype: torch.dtype,
    geometries: tuple[Geometry, ...],
    weight: Geometry,
    window: Window,
) -> LaunchConfig:
    """Select kernel and grid for the output's gradient, the input and the reduced images.

    Raises:
        ValueError: No tile fits; see `unavailable_reason`.
    """
    operands = tuple(Operand.of(geometry, ITEMSIZE) for geometry in geometries)
    groups = weight.shape[0] // window.area
    sizes = SpanSizes(operands[1].shape[1], groups, weight.shape[1], window)
    tile = select_tile(operator, operands[0].shape[3], sizes)
    if tile is None:
        raise ValueError(f"no tile of {operator} fits {sizes}")
    selector = _Selector(operator, dtype, operands, Roles(image=1, taps=2), window, tile, sizes)
    strides = tuple(operand.strides for operand in operands)
    return LaunchConfig(selector.kernel(), selector.grid(), strides, selector.sizes)


@dataclass(frozen=True)
class _Selector(KernelSelector):
    """Selects a kernel and its grid for the output's gradient, the input and reduced images.

    Attributes:
        block: The tile of pixels that a block computes at a time.
        layer: Sizes of the layer.
    """

    block: Tile
    layer: SpanSizes

    @property
    def groups(self) -> int:
        return self.layer.groups

    def kernel(self) -> Kernel:
        kernel = self.tiled_kernel(self.block)
        depth, chunk = self.layer.reduced_channels, depth_chunk(self.operator, self.layer)
        defines = {"REDUCED_CHANNELS": depth, "DEPTH_CHUNK": chunk}
        return replace(kernel, defines=(*kernel.defines, *defines.items()))

    def grid(self) -> tuple[int, int, int]:
        images, _, height, width = self.operands[0].shape
        tiles = images * -(-height // self.block.rows) * -(-width // self.block.columns)
        chunks = -(-self.layer.reduced_channels // depth_chunk(self.operator, self.layer))
        if self.operator == OPERATORS[0]:
            return tiles, chunks, 1
        return min(tiles, max(1, BLOCKS // (self.groups * chunks))), self.groups, chunks


def depth_chunk(operator: str, sizes: SpanSizes) -> int:
    """Return the reduced channels of a block, in whole matrices."""
    is_strided = operator == OPERATORS[1] and sizes.window.stride > 1
    most = MAX_STRIDED_DEPTH if is_strided else MAX_DEPTH
    return min(round_up(sizes.reduced_channels, 16), most)


@cache
def select_tile(operator: str, width: int, sizes: SpanSizes) -> Tile | None:
    """Return the largest tile of an operator that fits; None if none does.

    Args:
        operator: One of `OPERATORS`.
        width: Pixels in a row of the output.
        sizes: Sizes of the layer.
    """
    for rows, columns in SIZES:
        shared = _shared_bytes(operator, rows, columns, sizes)
        if shared <= SHARED_BYTES and (columns <= 8 or width > columns // 2):
            threads = WARP * rows // UNIT[0] * columns // UNIT[1]
            return Tile(rows, columns, CHANNELS, 4, threads, shared)
    return None


def _shared_bytes(operator: str, rows: int, columns: int, sizes: SpanSizes) -> int:
    window, pixel = sizes.window, CHANNELS * ITEMSIZE
    reach = window.dilation * (window.kernel_size - 1) + 1
    height, width = (rows - 1) * window.stride + reach, (columns - 1) * window.stride + reach
    fetched = (height * round_up(width, window.stride) + rows * columns) * pixel
    chunk = depth_chunk(operator, sizes)
    pitch = chunk * ITEMSIZE + VECTOR_BYTES
    places = round_up(window.kernel_size, 2) * PLACES
    if operator == OPERATORS[0]:
        return fetched + places * pitch
    return max(fetched + rows * columns * pitch, 4 * (chunk + 1) * places)
