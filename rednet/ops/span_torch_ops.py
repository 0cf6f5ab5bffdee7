"""An involution and its span as one operator, and its gradients, registered with torch.

Where the backend has no kernel for one of them, or prefers not to use it, that one is composed: the
1x1 convolution, then the operator of `rednet.ops.torch_ops`. A backward pass makes kernels once at
most, for the gradient of the input; the span's gradients need none. No kernel stands for
derivatives in forward mode.

N batch, C channels, D channels of the reduced images, G groups, K kernel size, H W input, Ho Wo
output.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rednet.ops import torch_ops
from rednet.ops.autocast import has_autocast
from rednet.ops.backends import select
from rednet.ops.checks import (
    check_span_grad_input,
    check_span_gradients,
    check_span_involution2d,
)
from rednet.ops.half_product import may_add_bias, product_with_bias
from rednet.ops.results import empty_grad_input, empty_output, memory_format_of
from rednet.ops.span_dispatch import find_kernel
from rednet.ops.span_sizes import SpanSizes
from rednet.ops.window import Window

_Three = tuple[Tensor, Tensor, Tensor]


@torch.library.custom_op("rednet::involution2d_span", mutates_args=())
def involution2d_span(
    input: Tensor,
    reduced: Tensor,
    span_weight: Tensor,
    span_bias: Tensor | None,
    kernel_size: int,
    stride: int,
    padding: int,
    dilation: int,
) -> Tensor:
    """Return the output (N, C, Ho, Wo), see `rednet.ops.span`."""
    window = Window(kernel_size, stride, padding, dilation)
    tensors = (input, reduced, span_weight, span_bias)
    check_span_involution2d(*tensors, window)
    torch_ops.refuse_unsupported()
    if kernel := _find_kernel("span_involution2d", input.shape[1], tensors, window):
        return kernel(*map(_plain, tensors), window)
    with _no_autocast(input):
        output = compose(*tensors, *window.sides)
    return output.contiguous(memory_format=memory_format_of(input, reduced))


@torch.library.custom_op("rednet::involution2d_span_grad_input", mutates_args=())
def grad_input(
    grad: Tensor,
    reduced: Tensor,
    span_weight: Tensor,
    span_bias: Tensor | None,
    height: int,
    width: int,
    kernel_size: int,
    stride: int,
    padding: int,
    dilation: int,
) -> Tensor:
    """Return the gradient (N, C, H, W) of the input."""
    window = Window(kernel_size, stride, padding, dilation)
    tensors = (grad, reduced, span_weight, span_bias)
    check_span_grad_input(*tensors, (height, width), window)
    torch_ops.refuse_unsupported()
    if kernel := _find_kernel("span_grad_input", grad.shape[1], tensors, window):
        return kernel(*map(_plain, tensors), (height, width), window)
    with _no_autocast(grad):
        output = compose_grad_input(*tensors, height, width, *window.sides)
    return output.contiguous(memory_format=memory_format_of(grad, reduced))


@torch.library.custom_op("rednet::involution2d_span_gradients", mutates_args=())
def gradients(
    grad: Tensor,
    input: Tensor,
    reduced: Tensor,
    span_weight: Tensor,
    kernel_size: int,
    stride: int,
    padding: int,
    dilation: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of `reduced`, `span_weight` (contiguous) and the span's bias."""
    window = Window(kernel_size, stride, padding, dilation)
    tensors = (grad, input, reduced, span_weight)
    check_span_gradients(*tensors, window)
    torch_ops.refuse_unsupported()
    if kernel := _find_kernel("span_gradients", input.shape[1], tensors, window):
        return kernel(*map(_plain, tensors), window)
    with _no_autocast(grad):
        of_reduced, of_weight, of_bias = compose_gradients(*tensors, *window.sides)
    of_reduced = of_reduced.contiguous(memory_format=memory_format_of(reduced))
    return of_reduced, of_weight.flatten(1)[:, :, None, None], of_bias


def _find_kernel(
    operator: str, channels: int, tensors: tuple[Tensor | None, ...], window: Window
) -> Callable[..., Any] | None:
    """Return the backend's kernel for the tensors of a call, or None."""
    given = [tensor for tensor in tensors if tensor is not None]
    device, dtype = given[0].device, given[0].dtype
    span = select(device, dtype).span
    if span is None or not all(tensor.numel() for tensor in given):
        return None
    weight = given[3] if operator == "span_gradients" else given[2]
    groups = weight.shape[0] // window.area
    sizes = SpanSizes(channels, groups, weight.shape[1], window)
    return find_kernel(span, operator, sizes, dtype, device, given)


def _plain(tensor: Tensor | None) -> Tensor | None:
    """Return a tensor whose memory has its values: one with torch's negative bit has others."""
    return None if tensor is None else tensor.resolve_neg()


def _no_autocast(tensor: Tensor) -> AbstractContextManager[Any]:
    """Compute in the dtype of the arguments, as a kernel does."""
    device = tensor.device.type
    if not has_autocast(device) or not torch.is_autocast_enabled(device):
        return nullcontext()
    return torch.autocast(device, enabled=False)


def _make_kernels(reduced: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return the kernels (N, G*K*K, Ho, Wo), as a layer that stores them makes them."""
    if bias is not None and may_add_bias(reduced, weight, bias):
        return product_with_bias(reduced, weight, bias)
    return F.conv2d(reduced, weight, bias)


def compose(
    input: Tensor,
    reduced: Tensor,
    span_weight: Tensor,
    span_bias: Tensor | None,
    *window: int,
) -> Tensor:
    """Return the output of the convolution and `involution2d`."""
    kernel = _make_kernels(reduced, span_weight, span_bias)
    return torch_ops.involution2d(input, kernel, *window)


def compose_grad_input(
    grad: Tensor,
    reduced: Tensor,
    span_weight: Tensor,
    span_bias: Tensor | None,
    *size_and_window: int,
) -> Tensor:
    """Return the gradient of the input by the convolution and `involution2d_grad_input`."""
    kernel = _make_kernels(reduced, span_weight, span_bias)
    return torch_ops.grad_input(grad, kernel, *size_and_window)


def compose_gradients(
    grad: Tensor, input: Tensor, reduced: Tensor, span_weight: Tensor, *window: int
) -> _Three:
    """Return the span's gradients by `involution2d_grad_weight` and the convolution's backward."""
    rows, ones, zeros = span_weight.shape[0], [1, 1], [0, 0]
    kernel = torch_ops.grad_weight(grad, input, rows // window[0] ** 2, *window)
    three: _Three = torch.ops.aten.convolution_backward(
        kernel, reduced, span_weight, [rows], ones, zeros, ones, False, zeros, 1, [True] * 3
    )
    return three


@involution2d_span.register_fake
def _(input, reduced, span_weight, span_bias, kernel_size, stride, padding, dilation):  # type: ignore[no-untyped-def]
    window = Window(kernel_size, stride, padding, dilation)
    check_span_involution2d(input, reduced, span_weight, span_bias, window)
    return empty_output(input, reduced)


@grad_input.register_fake
def _(  # type: ignore[no-untyped-def]
    grad, reduced, span_weight, span_bias, height, width, kernel_size, stride, padding, dilation
):
    window = Window(kernel_size, stride, padding, dilation)
    check_span_grad_input(grad, reduced, span_weight, span_bias, (height, width), window)
    return empty_grad_input(grad, reduced, (height, width))


@gradients.register_fake
def _(grad, input, reduced, span_weight, kernel_size, stride, padding, dilation):  # type: ignore[no-untyped-def]
    window = Window(kernel_size, stride, padding, dilation)
    check_span_gradients(grad, input, reduced, span_weight, window)
    of_reduced = torch.empty_like(reduced, memory_format=memory_format_of(reduced))
    rows = span_weight.shape[0]
    return of_reduced, span_weight.new_empty(span_weight.shape), span_weight.new_empty(rows)
