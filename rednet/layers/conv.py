"""Convolutions: 1x1, and the original's `ConvModule` with its parameter names."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import create_act_layer, get_norm_layer
from torch import Tensor, nn

from rednet.layers.norm import norm_act
from rednet.layers.scripting import NotScriptable
from rednet.ops.plain_tensors import is_channels_last, is_plain, is_plain_eager

LayerType = str | Callable[..., nn.Module] | type[nn.Module]


def make_norm(norm_layer: LayerType, channels: int) -> Any:
    """Create a normalisation of `channels` channels; raise ValueError if timm lacks the name."""
    try:
        return get_norm_layer(norm_layer)(channels)
    except KeyError as error:
        raise ValueError(
            f"timm has no norm_layer {norm_layer!r}: choose 'batchnorm2d', 'groupnorm1' or a class"
        ) from error


def make_act(act_layer: LayerType) -> nn.Module:
    """Create an activation, in place if possible; raise ValueError if timm lacks the name."""
    try:
        return create_act_layer(act_layer, inplace=True)
    except KeyError as error:
        raise ValueError(
            f"timm has no act_layer {act_layer!r}: choose 'relu', 'silu', 'gelu' or a class"
        ) from error


class PointwiseConv2d(NotScriptable, nn.Conv2d):
    """1x1 convolution without bias; a matrix product for float32 channels_last images on the CPU.

    There torch's convolution takes up to twice as long for the weight's gradient of small images,
    and copies it. In bfloat16, or with a bias, torch's convolution is faster. Attributes and
    parameters are those of `nn.Conv2d`, and may be changed in the same way.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 1, bias=False)

    # forward() passes the weight and bias as hooks, parametrizations and subclasses left them.
    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if bias is not None or not (self._is_pointwise() and _is_matrix_product(input, weight)):
            return super()._conv_forward(input, weight, bias)
        # Permuted like the input, so that the gradient gets the weight's memory format, either one.
        matrix = weight.permute(0, 2, 3, 1).flatten(1)
        return F.linear(input.permute(0, 2, 3, 1), matrix).permute(0, 3, 1, 2)

    def _is_pointwise(self) -> bool:
        """Return whether every output is read from one pixel, given a 1x1 weight."""
        return (
            self.stride == (1, 1)
            and self.padding == (0, 0)
            and self.groups == 1
            and self.padding_mode == "zeros"
        )


def _is_matrix_product(images: Tensor, weight: Tensor) -> bool:
    """Return whether images are a float32 matrix of pixels by channels, and weight fits them."""
    return (
        is_plain_eager()
        and is_channels_last(images, (torch.float32,))
        and is_plain(weight)
        and weight.dtype is torch.float32
        and weight.shape[1:] == (images.shape[1], 1, 1)
        and not torch.is_autocast_enabled("cpu")
    )


class ConvNormAct(NotScriptable, nn.Module):
    """Convolution without bias, normalisation, and activation unless `act_layer` is None."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        norm_layer: LayerType = nn.BatchNorm2d,
        act_layer: LayerType | None = nn.ReLU,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False
        )
        self.bn = make_norm(norm_layer, out_channels)
        self.act = make_act(act_layer) if act_layer else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, out_channels, ceil(H/stride), ceil(W/stride))."""
        return norm_act(self.conv(x), self.bn, self.act)


def init_conv(conv: nn.Conv2d) -> None:
    """Initialise as the original: Kaiming normal over the fan-out with a ReLU's gain, biases 0."""
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
