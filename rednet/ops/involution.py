"""The three operators of an involution (https://arxiv.org/abs/2103.06255), as torch operators.

N batch, C channels, G groups, K kernel size, H W input, Ho Wo output.

They are bilinear and closed under differentiation: the derivatives of each are the two others, so
three kernels give derivatives of every order.
"""

from typing import Any

import torch
from torch import Tensor

from rednet.ops.autocast import cast_as_convolution
from rednet.ops.backends import select
from rednet.ops.checks import check_grad_input, check_grad_weight, check_involution2d
from rednet.ops.results import (
    empty_grad_input,
    empty_grad_weight,
    empty_output,
    memory_format_of,
)
from rednet.ops.window import Window


def involution2d(
    input: Tensor,
    weight: Tensor,
    kernel_size: int,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
) -> Tensor:
    """Applies to every pixel of an image the kernel given for that pixel.

    `out[n,c,i,j] = sum over kh,kw of weight[n, g*K*K + kh*K + kw, i, j]
    * input[n, c, i*stride + kh*dilation - padding, j*stride + kw*dilation - padding]`
    with `g = c // (C/G)` and zeros outside the image. The output is channels_last if either
    argument is. Half and bfloat16 accumulate in float32.

    Args:
        input: Images (N, C, H, W).
        weight: Kernels (N, G*K*K, Ho, Wo), where G divides C and
            `Ho = (H + 2*padding - dilation*(K-1) - 1) // stride + 1`.
        kernel_size: K.
        stride: Distance of two windows in pixels.
        padding: Rows and columns of zeros around the image.
        dilation: Distance of two taps of a window in pixels.

    Returns:
        Images (N, C, Ho, Wo).

    Raises:
        ValueError: Shapes, dtypes or devices do not fit.
    """
    input, weight = cast_as_convolution(input, weight)
    return _involution2d(input, weight, kernel_size, stride, padding, dilation)


def involution2d_grad_input(
    grad: Tensor,
    weight: Tensor,
    input_size: tuple[int, int],
    kernel_size: int,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
) -> Tensor:
    """Gradient of `involution2d` with respect to its input: each kernel scattered.

    Args:
        grad: Gradient of the output (N, C, Ho, Wo).
        weight: Kernels (N, G*K*K, Ho, Wo).
        input_size: (H, W); several H give one Ho, so it has to be said.
        kernel_size: K.
        stride: As in `involution2d`.
        padding: As in `involution2d`.
        dilation: As in `involution2d`.

    Returns:
        Gradient of the input (N, C, H, W).

    Raises:
        ValueError: Shapes, dtypes or devices do not fit.
    """
    grad, weight = cast_as_convolution(grad, weight)
    height, width = input_size
    return _grad_input(grad, weight, height, width, kernel_size, stride, padding, dilation)


def involution2d_grad_weight(
    grad: Tensor,
    input: Tensor,
    groups: int,
    kernel_size: int,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
) -> Tensor:
    """Gradient of `involution2d` with respect to its weight: a correlation over each group.

    With a query for `grad` and a key for `input` it is the score of self-attention in a window.

    Args:
        grad: Gradient of the output (N, C, Ho, Wo).
        input: Images (N, C, H, W).
        groups: G, a divisor of C.
        kernel_size: K.
        stride: As in `involution2d`.
        padding: As in `involution2d`.
        dilation: As in `involution2d`.

    Returns:
        Gradient of the weight (N, G*K*K, Ho, Wo).

    Raises:
        ValueError: Shapes, dtypes or devices do not fit.
    """
    grad, input = cast_as_convolution(grad, input)
    return _grad_weight(grad, input, groups, kernel_size, stride, padding, dilation)


@torch.library.custom_op("rednet::involution2d", mutates_args=())
def _involution2d(
    input: Tensor, weight: Tensor, kernel_size: int, stride: int, padding: int, dilation: int
) -> Tensor:
    window = Window(kernel_size, stride, padding, dilation)
    check_involution2d(input, weight, window)
    return select(input.device, input.dtype).involution2d(input, weight, window)


@torch.library.custom_op("rednet::involution2d_grad_input", mutates_args=())
def _grad_input(
    grad: Tensor,
    weight: Tensor,
    height: int,
    width: int,
    kernel_size: int,
    stride: int,
    padding: int,
    dilation: int,
) -> Tensor:
    window = Window(kernel_size, stride, padding, dilation)
    check_grad_input(grad, weight, (height, width), window)
    return select(grad.device, grad.dtype).grad_input(grad, weight, (height, width), window)


@torch.library.custom_op("rednet::involution2d_grad_weight", mutates_args=())
def _grad_weight(
    grad: Tensor,
    input: Tensor,
    groups: int,
    kernel_size: int,
    stride: int,
    padding: int,
    dilation: int,
) -> Tensor:
    window = Window(kernel_size, stride, padding, dilation)
    check_grad_weight(grad, input, groups, window)
    return select(grad.device, grad.dtype).grad_weight(grad, input, groups, window)


@_involution2d.register_fake
def _(input, weight, kernel_size, stride, padding, dilation):  # type: ignore[no-untyped-def]
    check_involution2d(input, weight, Window(kernel_size, stride, padding, dilation))
    return empty_output(input, weight)


@_grad_input.register_fake
def _(grad, weight, height, width, kernel_size, stride, padding, dilation):  # type: ignore[no-untyped-def]
    window = Window(kernel_size, stride, padding, dilation)
    check_grad_input(grad, weight, (height, width), window)
    return empty_grad_input(grad, weight, (height, width))


@_grad_weight.register_fake
def _(grad, input, groups, kernel_size, stride, padding, dilation):  # type: ignore[no-untyped-def]
    window = Window(kernel_size, stride, padding, dilation)
    check_grad_weight(grad, input, groups, window)
    return empty_grad_weight(grad, input, groups, window)


def _save_pair(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    """Save both tensors of an operator and the four numbers of its window."""
    ctx.save_for_backward(*inputs[:2])
    ctx.window = inputs[-4:]


def _backward_involution2d(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    input, weight = ctx.saved_tensors
    needed = ctx.needs_input_grad
    groups = weight.shape[1] // ctx.window[0] ** 2
    grad_input = _grad_input(grad, weight, *input.shape[2:], *ctx.window) if needed[0] else None
    grad_weight = _grad_weight(grad, input, groups, *ctx.window) if needed[1] else None
    return _match_layout(grad_input, input), _match_layout(grad_weight, weight), *[None] * 4


def _backward_grad_input(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    outer, weight = ctx.saved_tensors
    needed = ctx.needs_input_grad
    groups = weight.shape[1] // ctx.window[0] ** 2
    grad_outer = _involution2d(grad, weight, *ctx.window) if needed[0] else None
    grad_weight = _grad_weight(outer, grad, groups, *ctx.window) if needed[1] else None
    return _match_layout(grad_outer, outer), _match_layout(grad_weight, weight), *[None] * 6


def _backward_grad_weight(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    outer, input = ctx.saved_tensors
    needed = ctx.needs_input_grad
    grad_outer = _involution2d(input, grad, *ctx.window) if needed[0] else None
    grad_input = _grad_input(outer, grad, *input.shape[2:], *ctx.window) if needed[1] else None
    return _match_layout(grad_outer, outer), _match_layout(grad_input, input), *[None] * 5


def _match_layout(grad: Tensor | None, like: Tensor) -> Tensor | None:
    """Return a gradient in the memory format of its tensor; copy only if the two differ."""
    if grad is None:
        return None
    return grad.contiguous(memory_format=memory_format_of(like))


torch.library.register_autograd(
    "rednet::involution2d", _backward_involution2d, setup_context=_save_pair
)
torch.library.register_autograd(
    "rednet::involution2d_grad_input", _backward_grad_input, setup_context=_save_pair
)
torch.library.register_autograd(
    "rednet::involution2d_grad_weight", _backward_grad_weight, setup_context=_save_pair
)
