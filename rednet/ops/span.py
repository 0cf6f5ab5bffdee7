"""An involution together with the 1x1 convolution that makes its kernels, the span.

N batch, C channels, D channels of the reduced images, G groups, K kernel size, H W input, Ho Wo
output.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import forward_ad
from torch.overrides import handle_torch_function, has_torch_function

from rednet.ops import (
    span_derivatives,  # noqa: F401  (registers them)
    span_torch_ops,
)
from rednet.ops.autocast import cast_as_convolution
from rednet.ops.involution import involution2d
from rednet.ops.window import Side, as_side


def involution2d_span(
    input: Tensor,
    reduced: Tensor,
    span_weight: Tensor,
    span_bias: Tensor | None,
    kernel_size: Side,
    stride: Side = 1,
    padding: Side = 0,
    dilation: Side = 1,
) -> Tensor:
    """Applies to every pixel the kernel that a 1x1 convolution makes of the reduced image.

    `involution2d(input, conv2d(reduced, span_weight, span_bias), kernel_size, ...)`, that is
    `out[n,c,i,j] = sum over kh,kw of (span_bias[t] + sum over d of span_weight[t,d] *
    reduced[n,d,i,j]) * input[n, c, i*stride + kh*dilation - padding, j*stride + kw*dilation -
    padding]` with `t = g*K*K + kh*K + kw` and `g = c // (C/G)`.

    Where the backend has kernels for it, neither this nor the backward pass stores the tensor of
    kernels (N, G*K*K, Ho, Wo): they make its numbers on the way, as often as they need them.
    Elsewhere it is that composition. A kernel sums over D in float32 and rounds each number to the
    dtype of the images before using it, as if it had been stored: the two differ by the order of
    the sum over D. The output is channels_last if `input` or `reduced` is.

    Derivatives exist to any order. Inside transforms of `torch.func`, in forward mode and in
    exported programs and traces it is the composition.

    Args:
        input: Images (N, C, H, W).
        reduced: Images (N, D, Ho, Wo), one pixel for each output, see `involution2d`.
        span_weight: Weight (G*K*K, D, 1, 1) of the convolution, where G divides C.
        span_bias: Bias (G*K*K,) of the convolution, or None.
        kernel_size: K, alone or as a pair of equal numbers, like the next three.
        stride: Distance of two windows in pixels.
        padding: Rows and columns of zeros around the image.
        dilation: Distance of two taps of a window in pixels.

    Returns:
        Images (N, C, Ho, Wo).

    Raises:
        ValueError: Shapes, dtypes or devices do not fit.
    """
    tensors = (input, reduced, span_weight, span_bias)
    given = tuple(tensor for tensor in tensors if tensor is not None)
    if has_torch_function(given):
        sides = (kernel_size, stride, padding, dilation)
        return handle_torch_function(involution2d_span, given, *tensors, *sides)
    window = (
        as_side("kernel_size", kernel_size),
        as_side("stride", stride),
        as_side("padding", padding),
        as_side("dilation", dilation),
    )
    given = cast_as_convolution(*given)
    bias = None if span_bias is None else given[3]
    if _needs_composition():
        return involution2d(given[0], F.conv2d(given[1], given[2], bias), *window)
    return span_torch_ops.involution2d_span(*given[:3], bias, *window)


def _needs_composition() -> bool:
    """Return whether something asks for more than the registered operator has, or for less."""
    if torch.compiler.is_compiling():
        return torch.compiler.is_exporting()
    return (
        torch.jit.is_tracing()
        or torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0
    )
