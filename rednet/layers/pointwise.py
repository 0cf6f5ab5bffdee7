"""1x1 convolutions, by the faster of torch's two routines: a convolution or a matrix product."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rednet.layers.pointwise_forms import CONVOLUTIONS, PRODUCTS, Forms, pointwise_forms
from rednet.layers.repeatable import repeatable
from rednet.layers.scripting import NotScriptable
from rednet.ops.half_product import matrix_of, may_add_bias, product_with_bias
from rednet.ops.plain_tensors import (
    is_channels_last,
    is_plain,
    is_plain_eager,
    is_recorded,
)


@repeatable
class PointwiseConv2d(NotScriptable, nn.Conv2d):
    """1x1 convolution, by the faster of two routines.

    On the CPU, for float32 channels_last images and without a bias, each direction is a matrix
    product or torch's convolution, see `rednet.layers.pointwise_forms`; torch's convolution is
    faster without gradients, in bfloat16 and with a bias. On an NVIDIA GPU a convolution with a
    bias is one product of half or bfloat16 matrices that adds the bias to its sums: cuDNN's
    convolution leaves that to a second kernel, which reads and writes the whole result. Everything
    else is torch's convolution. Attributes and parameters are those of `nn.Conv2d`, and may be
    changed in the same way.
    """

    def __init__(self, in_channels: int, out_channels: int, bias: bool = False) -> None:
        super().__init__(in_channels, out_channels, 1, bias=bias)

    # forward() passes the weight and bias as hooks, parametrizations and subclasses left them.
    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if bias is not None and is_pointwise(self) and may_add_bias(input, weight, bias):
            return product_with_bias(input, weight, bias)
        if bias is not None or not (is_pointwise(self) and _may_be_product(input, weight)):
            return super()._conv_forward(input, weight, bias)
        forms = pointwise_forms()
        if forms == CONVOLUTIONS:
            return super()._conv_forward(input, weight, bias)
        if forms == PRODUCTS:
            return _product(input, weight)
        return _Mixed.apply(input, weight, forms)


def is_pointwise(conv: nn.Conv2d) -> bool:
    """Return whether every output is read from all channels of one pixel, given a 1x1 weight."""
    return (
        conv.stride == (1, 1)
        and conv.padding == (0, 0)
        and conv.groups == 1
        and conv.padding_mode == "zeros"
    )


def _may_be_product(images: Tensor, weight: Tensor) -> bool:
    """Return whether images are a float32 matrix of pixels by channels, and weight fits them."""
    return (
        is_plain_eager()
        and is_channels_last(images, (torch.float32,))
        and is_plain(weight)
        and weight.dtype is torch.float32
        and weight.shape[1:] == (images.shape[1], 1, 1)
        and not torch.is_autocast_enabled("cpu")
        and is_recorded(images, weight)
    )


def _product(images: Tensor, weight: Tensor) -> Tensor:
    """Return the convolution as a matrix product: images (N, C, H, W), weight (O, C, 1, 1)."""
    return F.linear(images.permute(0, 2, 3, 1), matrix_of(weight)).permute(0, 3, 1, 2)


class _Mixed(torch.autograd.Function):
    """A 1x1 convolution of which each direction has its own form."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, forms: Forms) -> Tensor:
        ctx.save_for_backward(images, weight)
        ctx.forms = forms
        return _product(images, weight) if forms.forward == "product" else F.conv2d(images, weight)

    # Of differentiable operations, so that there are second derivatives.
    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        images, weight = ctx.saved_tensors
        (grad,) = grads
        grad = grad.contiguous(memory_format=torch.channels_last)
        of_images = of_weight = None
        if ctx.needs_input_grad[0]:
            if ctx.forms.input_gradient == "product":
                of_images = _product(grad, weight.transpose(0, 1))
            else:
                of_images = _convolution_gradients(grad, images, weight, (True, False))[0]
        if ctx.needs_input_grad[1]:
            if ctx.forms.weight_gradient == "product":
                of_weight = _weight_gradient(grad, images, weight)
            else:
                of_weight = _convolution_gradients(grad, images, weight, (False, True))[1]
        return of_images, of_weight, None


def _weight_gradient(grad: Tensor, images: Tensor, weight: Tensor) -> Tensor:
    """Return the weight's gradient (O, C, 1, 1) as a matrix product over all pixels."""
    matrices = [tensor.permute(0, 2, 3, 1).flatten(0, 2) for tensor in (grad, images)]
    product = matrices[0].t() @ matrices[1]
    # The memory is the same in both formats, but DDP warns of strides unlike the weight's.
    if weight.stride(3) == 1:
        return product[:, :, None, None]
    return product[:, None, None].permute(0, 3, 1, 2)


def _convolution_gradients(
    grad: Tensor, images: Tensor, weight: Tensor, wanted: tuple[bool, bool]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return what torch's convolution computes: gradients of images and weight, if wanted."""
    ones, zeros = [1, 1], [0, 0]
    gradients: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        grad, images, weight, None, ones, zeros, ones, False, zeros, 1, [*wanted, False]
    )
    return gradients
