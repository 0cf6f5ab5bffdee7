"""The parts of RedNet: its bottleneck block, its stages and its stems.

Modules are called as in the original's `cls/mmcls/models/backbones/rednet.py`, so that the
released weights fit.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from timm.layers import DropPath, make_divisible
from torch import Tensor, nn

from rednet.layers import (
    ConvNormAct,
    Involution2d,
    LayerType,
    PointwiseConv2d,
    make_act,
    make_norm,
    norm_act,
)
from rednet.models.variants import (
    EXPANSION,
    STAGE_STRIDES,
    STAGE_WIDTHS,
    STEM_GROUP_CHANNELS,
    WIDTH_DIVISOR,
    Stem,
)

SpatialLayer = Callable[[int, int, int], nn.Module]
"""Makes from (channels, stride, dilation) the middle layer of a bottleneck."""


@dataclass(frozen=True)
class Style:
    """The normalisation and the activation used all over the network."""

    norm_layer: LayerType = nn.BatchNorm2d
    act_layer: LayerType = nn.ReLU

    def norm(self, channels: int) -> Any:
        """A normalisation of `channels` channels."""
        return make_norm(self.norm_layer, channels)

    def act(self) -> nn.Module:
        """An activation in place."""
        return make_act(self.act_layer)

    def keywords(self) -> dict[str, Any]:
        """The two as keyword arguments of a layer."""
        return {"norm_layer": self.norm_layer, "act_layer": self.act_layer}


def conv3x3(channels: int, stride: int, dilation: int) -> nn.Module:
    """The convolution of a ResNet's bottleneck, for stages without involution."""
    return nn.Conv2d(channels, channels, 3, stride, dilation, dilation, bias=False)


class Downsample(nn.Sequential):
    """The shortcut of a block that changes the size: convolution and normalisation."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, ceil(H/stride), ceil(W/stride))."""
        conv, norm = self
        return norm_act(conv(x), norm)


class Bottleneck(nn.Module):
    """1x1 convolution, involution (or what `spatial` makes), 1x1 convolution, and a shortcut.

    Args:
        in_channels: Channels of the input.
        width: Channels inside; the output has four times as many.
        spatial: Makes the middle layer, which carries the stride.
        stride: Of the block.
        dilation: Of the middle layer.
        style: Normalisation and activation.
        drop_path: Probability to skip the block for a sample in training.
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
        """(N, in_channels, H, W) to (N, 4*width, ceil(H/stride), ceil(W/stride))."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = norm_act(self.conv1(x), self.bn1, self.act1)
        x = norm_act(self.conv2(x), self.bn2, self.act2)
        if isinstance(self.drop_path, nn.Identity):
            return norm_act(self.conv3(x), self.bn3, self.act3, shortcut)
        return self.act3(self.drop_path(self.bn3(self.conv3(x))) + shortcut)

    def zero_init_last(self) -> None:
        """Lets the block start as its shortcut alone, where its last normalisation has weights."""
        if getattr(self.bn3, "weight", None) is not None:
            nn.init.zeros_(self.bn3.weight)


@dataclass(frozen=True)
class StagePlan:
    """One stage.

    Attributes:
        width: Channels inside its blocks.
        stride: Of its first block.
        dilations: Of its first block and of the others.
        reduction: How many times smaller than the image its output is, along a side.
        drop_paths: Drop-path rate of each block.
    """

    width: int
    stride: int
    dilations: tuple[int, int]
    reduction: int
    drop_paths: list[float]


def round_width(channels: int, width: float) -> int:
    """`channels` times `width`, as a multiple of 16, at least 16."""
    return make_divisible(channels * width, WIDTH_DIVISOR)


def plan_stages(
    layers: Sequence[int],
    width: float,
    stem_reduction: int,
    output_stride: int,
    drop_path_rate: float,
) -> list[StagePlan]:
    """Plans the stages; where one would stride beyond `output_stride` it dilates instead.

    Args:
        layers: Blocks of each stage.
        width: Multiplier of all widths.
        stem_reduction: How many times smaller than the image the first stage's input is.
        output_stride: The largest reduction there may be.
        drop_path_rate: Of the last block, rising linearly from 0 over all blocks.
    """
    drop_paths = _rising(drop_path_rate, layers)
    reduction, dilation = stem_reduction, 1
    plans = []
    for channels, stride, rates in zip(STAGE_WIDTHS, STAGE_STRIDES, drop_paths, strict=True):
        first_dilation = dilation
        if reduction * stride > output_stride:
            dilation, stride = dilation * stride, 1
        reduction *= stride
        dilations = (first_dilation, dilation)
        plans.append(StagePlan(round_width(channels, width), stride, dilations, reduction, rates))
    return plans


def _rising(last: float, layers: Sequence[int]) -> list[list[float]]:
    """Numbers from 0 to `last`, one per block, by stage."""
    step = last / max(1, sum(layers) - 1)
    starts = [sum(layers[:stage]) for stage in range(len(layers))]
    return [
        [step * (start + block) for block in range(count)]
        for start, count in zip(starts, layers, strict=True)
    ]


def make_stage(
    in_channels: int, plan: StagePlan, spatial: SpatialLayer, style: Style
) -> nn.Sequential:
    """The blocks of a stage, of which the first carries the stride.

    Args:
        in_channels: Channels of the stage's input.
        plan: The stage's numbers.
        spatial: Makes the middle layer of each block.
        style: Normalisation and activation.
    """
    blocks = []
    stride, dilation = plan.stride, plan.dilations[0]
    for drop_path in plan.drop_paths:
        blocks.append(
            Bottleneck(in_channels, plan.width, spatial, stride, dilation, style, drop_path)
        )
        in_channels = EXPANSION * plan.width
        stride, dilation = 1, plan.dilations[1]
    return nn.Sequential(*blocks)


class InvolutionStem(nn.Sequential):
    """Convolution, involution with its normalisation and activation, convolution."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_chans, H, W) to (N, out_channels, H', W')."""
        first, involution, norm, act, last = self
        return last(norm_act(involution(first(x)), norm, act))


def make_stem(
    stem: Stem, in_chans: int, inner: int, outer: int, style: Style, recompute_kernel: bool
) -> nn.Sequential:
    """Make the layers before the first stage, except the max-pooling.

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
