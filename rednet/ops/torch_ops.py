"""The operators, registered with torch: schema, kernels by backend, and fake kernels.

N batch, C channels, G groups, K kernel size, H W input, Ho Wo output.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.autograd import forward_ad

from rednet.ops.backends import select
from rednet.ops.checks import (
    check_affine,
    check_grad_input,
    check_grad_weight,
    check_involution2d,
)
from rednet.ops.results import empty_grad_input, empty_grad_weight, empty_output
from rednet.ops.window import Window


@torch.library.custom_op("rednet::involution2d", mutates_args=())
def involution2d(
    input: Tensor, weight: Tensor, kernel_size: int, stride: int, padding: int, dilation: int
) -> Tensor:
    """Return the output (N, C, Ho, Wo), see `rednet.ops.involution`."""
    window = Window(kernel_size, stride, padding, dilation)
    check_involution2d(input, weight, window)
    refuse_unsupported()
    return select(input.device, input.dtype).involution2d(input, weight, window)


def run_affine(
    input: Tensor,
    weight: Tensor,
    scale: Tensor,
    shift: Tensor,
    relu: bool,
    kernel_size: int,
    stride: int,
    padding: int,
    dilation: int,
) -> Tensor:
    """Return the output (N, C, Ho, Wo), see `rednet.ops.affine`; it has no derivatives."""
    window = Window(kernel_size, stride, padding, dilation)
    check_involution2d(input, weight, window)
    check_affine(input, scale, shift)
    refuse_unsupported()
    backend = select(input.device, input.dtype)
    if backend.involution2d_affine is not None:
        return backend.involution2d_affine(input, weight, scale, shift, relu, window)
    return apply_affine(backend.involution2d(input, weight, window), scale, shift, relu)


involution2d_affine = torch.library.custom_op(
    "rednet::involution2d_affine", run_affine, mutates_args=()
)


def apply_affine(output: Tensor, scale: Tensor, shift: Tensor, relu: bool) -> Tensor:
    """Return `output * scale + shift` by channel, in the dtype of scale, and a ReLU."""
    result = output * scale[:, None, None] + shift[:, None, None]
    return (result.relu() if relu else result).to(output.dtype)


@torch.library.custom_op("rednet::involution2d_grad_input", mutates_args=())
def grad_input(
    grad: Tensor,
    weight: Tensor,
    height: int,
    width: int,
    kernel_size: int,
    stride: int,
    padding: int,
    dilation: int,
) -> Tensor:
    """Return the gradient (N, C, H, W) of the input."""
    window = Window(kernel_size, stride, padding, dilation)
    check_grad_input(grad, weight, (height, width), window)
    refuse_unsupported()
    return select(grad.device, grad.dtype).grad_input(grad, weight, (height, width), window)


@torch.library.custom_op("rednet::involution2d_grad_weight", mutates_args=())
def grad_weight(
    grad: Tensor,
    input: Tensor,
    groups: int,
    kernel_size: int,
    stride: int,
    padding: int,
    dilation: int,
) -> Tensor:
    """Return the gradient (N, G*K*K, Ho, Wo) of the weight."""
    window = Window(kernel_size, stride, padding, dilation)
    check_grad_weight(grad, input, groups, window)
    refuse_unsupported()
    return select(grad.device, grad.dtype).grad_weight(grad, input, groups, window)


@involution2d.register_fake
def _(input, weight, kernel_size, stride, padding, dilation):  # type: ignore[no-untyped-def]
    check_involution2d(input, weight, Window(kernel_size, stride, padding, dilation))
    return empty_output(input, weight)


@involution2d_affine.register_fake
def _(input, weight, scale, shift, relu, kernel_size, stride, padding, dilation):  # type: ignore[no-untyped-def]
    check_involution2d(input, weight, Window(kernel_size, stride, padding, dilation))
    check_affine(input, scale, shift)
    return empty_output(input, weight)


@grad_input.register_fake
def _(grad, weight, height, width, kernel_size, stride, padding, dilation):  # type: ignore[no-untyped-def]
    window = Window(kernel_size, stride, padding, dilation)
    check_grad_input(grad, weight, (height, width), window)
    return empty_grad_input(grad, weight, (height, width))


@grad_weight.register_fake
def _(grad, input, groups, kernel_size, stride, padding, dilation):  # type: ignore[no-untyped-def]
    window = Window(kernel_size, stride, padding, dilation)
    check_grad_weight(grad, input, groups, window)
    return empty_grad_weight(grad, input, groups, window)


class _Tangents(threading.local):
    handled = False


_tangents = _Tangents()


@contextmanager
def tangents_handled() -> Iterator[None]:
    """Let the operators run although a level of forward-mode differentiation is entered."""
    before, _tangents.handled = _tangents.handled, True
    try:
        yield
    finally:
        _tangents.handled = before


def refuse_unsupported() -> None:
    """Raise an error where torch would ignore tangents, or cannot translate the operator."""
    if forward_ad._current_level >= 0 and not _tangents.handled:
        raise NotImplementedError(
            "torch.ops.rednet has no forward-mode derivatives: call rednet.involution2d instead"
        )
    if torch.onnx.is_in_onnx_export():  # true for the exporter based on TorchScript only
        raise NotImplementedError(
            "torch.onnx.export(dynamo=False) is deprecated and cannot export an involution: use "
            "python -m rednet export checkpoint=FILE output=FILE.onnx"
        )
