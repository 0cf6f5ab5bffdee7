"""The original's `ConvModule` with its parameter names, and what convolutions are made of."""

from collections.abc import Callable
from typing import Any

from timm.layers import create_act_layer, get_norm_layer
from torch import Tensor, nn

from rednet.layers.norm import norm_act
from rednet.layers.repeatable import repeatable
from rednet.layers.scripting import NotScriptable

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


@repeatable
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
