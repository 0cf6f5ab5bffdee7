"""The three operators of an involution (https://arxiv.org/abs/2103.06255), as torch operators.

N batch, C channels, G groups, K kernel size, H W input, Ho Wo output.

They are bilinear and closed under differentiation: the derivatives of each are the two others, so
three kernels give derivatives of every order.
"""

from typing import Any

from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_variadic

from rednet.ops import torch_ops
from rednet.ops.autocast import cast_as_convolution
from rednet.ops.derivatives import call
from rednet.ops.window import Side, as_integer, as_side, as_size


def involution2d(
    input: Tensor,
    weight: Tensor,
    kernel_size: Side,
    stride: Side = 1,
    padding: Side = 0,
    dilation: Side = 1,
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
        kernel_size: K, alone or as a pair of equal numbers, like the next three.
        stride: Distance of two windows in pixels.
        padding: Rows and columns of zeros around the image.
        dilation: Distance of two taps of a window in pixels.

    Returns:
        Images (N, C, Ho, Wo).

    Raises:
        ValueError: Shapes, dtypes or devices do not fit.
    """
    if has_torch_function_variadic(input, weight):
        sides = (kernel_size, stride, padding, dilation)
        return handle_torch_function(involution2d, (input, weight), input, weight, *sides)
    input, weight = cast_as_convolution(input, weight)
    return call(
        torch_ops.involution2d, input, weight, *_sides(kernel_size, stride, padding, dilation)
    )


def involution2d_grad_input(
    grad: Tensor,
    weight: Tensor,
    input_size: tuple[int, int],
    kernel_size: Side,
    stride: Side = 1,
    padding: Side = 0,
    dilation: Side = 1,
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
    if has_torch_function_variadic(grad, weight):
        arguments = (grad, weight, input_size, kernel_size, stride, padding, dilation)
        return handle_torch_function(involution2d_grad_input, (grad, weight), *arguments)
    grad, weight = cast_as_convolution(grad, weight)
    sides = _sides(kernel_size, stride, padding, dilation)
    return call(torch_ops.grad_input, grad, weight, *as_size("input_size", input_size), *sides)


def involution2d_grad_weight(
    grad: Tensor,
    input: Tensor,
    groups: int,
    kernel_size: Side,
    stride: Side = 1,
    padding: Side = 0,
    dilation: Side = 1,
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
    if has_torch_function_variadic(grad, input):
        arguments = (grad, input, groups, kernel_size, stride, padding, dilation)
        return handle_torch_function(involution2d_grad_weight, (grad, input), *arguments)
    grad, input = cast_as_convolution(grad, input)
    sides = _sides(kernel_size, stride, padding, dilation)
    return call(torch_ops.grad_weight, grad, input, as_integer("groups", groups), *sides)


def _sides(kernel_size: Any, stride: Any, padding: Any, dilation: Any) -> tuple[int, ...]:
    """Return the four numbers of a window, each given alone or as a pair of equal ones."""
    return (
        as_side("kernel_size", kernel_size),
        as_side("stride", stride),
        as_side("padding", padding),
        as_side("dilation", dilation),
    )
