"""Convolution with normalisation, under the parameter names of the original's `ConvModule`."""

from collections.abc import Callable

from timm.layers import create_act_layer, get_norm_layer
from torch import Tensor, nn

LayerType = str | Callable[..., nn.Module] | type[nn.Module]


class ConvNormAct(nn.Module):
    """Convolution without bias, normalisation and, unless `act_layer` is None, activation."""

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
        self.bn = get_norm_layer(norm_layer)(out_channels)
        self.act = create_act_layer(act_layer, inplace=True) if act_layer else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, out_channels, ceil(H/stride), ceil(W/stride))."""
        return self.act(self.bn(self.conv(x)))


def init_conv(conv: nn.Conv2d) -> None:
    """Kaiming normal over the fan-out with a ReLU's gain, biases 0, as the original."""
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
