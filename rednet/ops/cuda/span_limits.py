"""Which layers and tensors the kernels that make their taps by a span are for."""

from collections.abc import Sequence

import torch
from torch import Tensor

from rednet.ops.cuda.launch_config import MAX_GRID_Y
from rednet.ops.cuda.operand import Operand
from rednet.ops.cuda.plan import geometry_of
from rednet.ops.cuda.span_tiles import select_span_tile
from rednet.ops.span_sizes import SpanSizes

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
ORDINARY_WIDTH = 56
"""Pixels of a row, where no tensor says how many there are."""


def unavailable_reason(
    operator: str, sizes: SpanSizes, dtype: torch.dtype, tensors: Sequence[Tensor]
) -> str | None:
    """Return why `span_involution2d` or `span_grad_input` cannot run, or None if it can.

    Args:
        operator: Name of the kernel.
        sizes: Sizes of the layer.
        dtype: Dtype of all tensors.
        tensors: Images, reduced images, weight and perhaps bias, in this order; or none.
    """
    if dtype not in DTYPES:
        return f"its taps are made in float32, float16 and bfloat16, not in {dtype}"
    if sizes.reduced_channels < 1:
        return "the reduced images have no channels"
    width = sizes.channels // sizes.groups
    columns = -(-ORDINARY_WIDTH // sizes.window.stride)
    if select_span_tile(operator, columns, width, dtype.itemsize, sizes.window) is None:
        return f"no tile for groups of {width} channels and a window of {sizes.window} fits"
    return _tensor_reason(sizes, tensors) if tensors else None


def _tensor_reason(sizes: SpanSizes, tensors: Sequence[Tensor]) -> str | None:
    images, reduced = tensors[:2]
    if not (images.numel() and reduced.numel()):
        return "the images are empty"
    for tensor in (images, reduced):
        if not Operand.of(geometry_of(tensor), tensor.element_size()).is_packed:
            return "the images are not channels_last"
    window = sizes.window
    reach = window.kernel_size * window.dilation
    if max(*images.shape[2:], *reduced.shape[2:]) * window.stride + reach > MAX_GRID_Y:
        return "the images are too large"
    return None
