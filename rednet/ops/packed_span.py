"""An involution and its span as a function of an optimized graph, whose weights are packed once."""

import torch
import torch.nn.functional as F
from torch import Tensor

from rednet.ops import native_span, torch_ops
from rednet.ops.backends import select
from rednet.ops.window import Window


def can_run(dtype: torch.dtype) -> bool:
    """Return whether the kernel runs on the CPU for a dtype, and involutions run on its backend."""
    try:
        is_native = dtype in native_span.DTYPES and _is_native(dtype)
    except RuntimeError:
        return False
    return is_native and native_span.is_built()


def _is_native(dtype: torch.dtype) -> bool:
    return select(torch.device("cpu"), dtype).name == "native"


def span_involution2d(
    input: Tensor,
    reduced: Tensor,
    weight: Tensor,
    bias: Tensor,
    scale: Tensor | None,
    shift: Tensor | None,
    relu: bool,
    kernel_size: int,
    stride: int,
    padding: int,
    dilation: int,
) -> Tensor:
    """Return the involution (N, C, Ho, Wo) whose kernels are the convolution of `reduced`.

    It is not differentiable, and its arguments, those of `native_span.run_packed`, are not checked.
    """
    window = Window(kernel_size, stride, padding, dilation)
    arguments = (input, reduced, weight, bias, scale, shift, relu, window)
    return (native_span.run_packed if can_run(input.dtype) else _compose)(*arguments)


def _compose(
    input: Tensor,
    reduced: Tensor,
    weight: Tensor,
    bias: Tensor,
    scale: Tensor | None,
    shift: Tensor | None,
    relu: bool,
    window: Window,
) -> Tensor:
    """Return the same by other backends, with a tensor of kernels."""
    rows = weight.transpose(1, 2).reshape(-1, reduced.shape[1], 1, 1)
    kernel = F.conv2d(reduced, rows.to(input.dtype), bias.to(input.dtype))
    if scale is None or shift is None:
        return torch_ops.involution2d(input, kernel, *window.sides)
    return torch_ops.run_affine(input, kernel, scale, shift, relu, *window.sides)
