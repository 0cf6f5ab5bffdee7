"""Building blocks of RedNet: bottleneck and stems.

Modules have the names of the original's `cls/mmcls/models/backbones/rednet.py`, so that the
released weights fit.

Shapes: N batch, H W input size.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from timm.layers import DropPath
from torch import Tensor, nn

from rednet.layers import (
    ConvNormAct,
    Involution2d,
    LayerType,
    PointwiseConv2d,
    RecomputeKernel,
    checkpoint_module,
    is_bare,
    make_act,
    make_norm,
    may_checkpoint,
    norm_act,
)
from rednet.models.variants import EXPANSION, STEM_GROUP_CHANNELS, Stem

SpatialLayer = Callable[[int, int, int], nn.Module]
"""Builds the middle layer of a bottleneck from (channels, stride, dilation)."""


@dataclass(frozen=True)
class Style:
    """Normalisation and activation of the whole network.

    Attributes:
        norm_layer: Normalisation, a class or timm's name.
        act_layer: Activation, a class or timm's name.
    """

    norm_layer: LayerType = nn.BatchNorm2d
    act_layer: LayerType = nn.ReLU

    def norm(self, channels: int) -> Any:
        """Build a normalisation of `channels` channels."""
        return make_norm(self.norm_layer, channels)

    def act(self) -> nn.Module:
        """Build an in-place activation."""
        return make_act(self.act_layer)

    def keywords(self) -> dict[str, Any]:
        """Return both as keyword arguments of a layer."""
        return {"norm_layer": self.norm_layer, "act_layer": self.act_layer}


def conv3x3(channels: int, stride: int, dilation: int) -> nn.Module:
    """Build the 3x3 convolution of a ResNet bottleneck, for stages without involution."""
    return nn.Conv2d(channels, channels, 3, stride, dilation, dilation, bias=False)


class Downsample(nn.Sequential):
    """Projection shortcut: 1x1 convolution and normalisation."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, ceil(H/stride), ceil(W/stride))."""
        if len(self) != 2:
            return super().forward(x)
        conv, norm = self
        return norm_act(conv(x), norm)


class Bottleneck(nn.Module):
    """Residual block: 1x1 convolution, involution or 3x3 convolution, 1x1 convolution.

    Args:
        in_channels: Channels of the input.
        width: Channels inside the block; the output has four times as many.
        spatial: Builds the middle layer.
        stride: Stride of the middle layer and of the shortcut.
        dilation: Dilation of the middle layer.
        style: Normalisation and activation.
        drop_path: Probability of skipping the block for a sample in training.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        spatial: SpatialLayer,
        stride: int = 1,
        dilation: int = 1,
        style: Style = Style(),
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        out_channels = EXPANSION * width
        self.conv1 = PointwiseConv2d(in_channels, width)
        self.bn1 = style.norm(width)
        self.act1 = style.act()
        self.conv2 = spatial(width, stride, dilation)
        self.bn2 = style.norm(width)
        self.act2 = style.act()
        self.conv3 = PointwiseConv2d(width, out_channels)
        self.bn3 = style.norm(out_channels)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()
        self.downsample = None
        if stride > 1 or in_channels != out_channels:
            self.downsample = Downsample(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
                style.norm(out_channels),
            )
        self.act3 = style.act()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, 4*width, ceil(H/stride), ceil(W/stride))."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = norm_act(self.conv1(x), self.bn1, self.act1)
        x = norm_act(self.conv2(x), self.bn2, self.act2)
        if type(self.drop_path) is nn.Identity and is_bare(self.drop_path):  # the sum can be fused
            return norm_act(self.conv3(x), self.bn3, self.act3, shortcut)
        return self.act3(self.drop_path(self.bn3(self.conv3(x))) + shortcut)

    def zero_init_last(self) -> None:
        """Initialise the block to its shortcut, if its last normalisation has a weight."""
        if getattr(self.bn3, "weight", None) is not None:
            nn.init.zeros_(self.bn3.weight)


class _StemStart(nn.Sequential):
    """The first four layers of a stem with an involution, whose activations are its largest."""

    def forward(self, x: Tensor) -> Tensor:
        return _start_stem(self, x)


class InvolutionStem(nn.Sequential):
    """3x3 convolution, involution with normalisation and activation, 3x3 convolution.

    Where the involution recomputes its kernels in the backward pass, all but the last convolution
    is computed again there: it takes little time, and a lot of memory.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_chans, H, W) to (N, out_channels, ceil(H/stride), ceil(W/stride))."""
        if len(self) != 5:
            return super().forward(x)
        *layers, last = self
        if self.training and self._recomputes(x) and may_checkpoint(layers, x):
            return last(checkpoint_module(_StemStart(*layers), x))
        return last(_start_stem(layers, x))

    def _recomputes(self, x: Tensor) -> bool:
        first, involution = self[0], self[1]
        if type(first) is not ConvNormAct or not isinstance(involution, Involution2d):
            return False
        return involution.recomputes(x, first.conv.stride[0])


def _start_stem(layers: Iterable[nn.Module], x: Tensor) -> Tensor:
    first, involution, norm, act = layers
    return norm_act(involution(first(x)), norm, act)


def make_stem(
    stem: Stem,
    in_chans: int,
    inner: int,
    outer: int,
    style: Style,
    recompute_kernel: RecomputeKernel,
) -> nn.Sequential:
    """Build the layers before the first stage, except the max-pooling.

    Args:
        stem: Kernel sizes and stride.
        in_chans: Channels of the image.
        inner: Channels of the first two layers of a stem with an involution.
        outer: Channels of the output.
        style: Normalisation and activation.
        recompute_kernel: As in `Involution2d`.
    """
    first, stride = stem.first_kernel_size, stem.stride
    if stem.involution_kernel_size is None:
        return nn.Sequential(ConvNormAct(in_chans, outer, first, stride, **style.keywords()))
    return InvolutionStem(
        ConvNormAct(in_chans, inner, first, stride, **style.keywords()),
        Involution2d(
            inner,
            stem.involution_kernel_size,
            group_channels=STEM_GROUP_CHANNELS,
            recompute_kernel=recompute_kernel,
            **style.keywords(),
        ),
        style.norm(inner),
        style.act(),
        ConvNormAct(inner, outer, 3, 1, **style.keywords()),
    )
