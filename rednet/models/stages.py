"""The stages of RedNet: blocks of one resolution."""

from collections.abc import Sequence
from dataclasses import dataclass

from timm.layers import make_divisible
from torch import Tensor, nn

from rednet.layers import checkpoint_module
from rednet.models.blocks import Bottleneck, SpatialLayer, Style
from rednet.models.variants import EXPANSION, STAGE_STRIDES, STAGE_WIDTHS, WIDTH_DIVISOR


@dataclass(frozen=True)
class StagePlan:
    """Numbers of one stage.

    Attributes:
        width: Channels inside the blocks.
        stride: Stride of the first block.
        dilations: Dilation of the first block and of the others.
        reduction: Image size divided by output size, per side.
        drop_paths: Drop-path rate of each block.
    """

    width: int
    stride: int
    dilations: tuple[int, int]
    reduction: int
    drop_paths: list[float]


def round_width(channels: int, width: float) -> int:
    """Return `channels * width` rounded to a multiple of 16, at least 16."""
    return make_divisible(channels * width, WIDTH_DIVISOR)


def plan_stages(
    layers: Sequence[int],
    width: float,
    stem_reduction: int,
    output_stride: int,
    drop_path_rate: float,
) -> list[StagePlan]:
    """Plan the stages; a stage that would exceed `output_stride` dilates instead of striding.

    Args:
        layers: Blocks of each stage.
        width: Multiplier of all widths.
        stem_reduction: Image size divided by the size of the first stage's input, per side.
        output_stride: Largest reduction of any stage.
        drop_path_rate: Drop-path rate of the last block; rates rise linearly from 0.
    """
    drop_paths = _linear_drop_paths(drop_path_rate, layers)
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


def _linear_drop_paths(last: float, layers: Sequence[int]) -> list[list[float]]:
    """Return rates that rise from 0 to `last`, one per block, by stage."""
    step = last / max(1, sum(layers) - 1)
    starts = [sum(layers[:stage]) for stage in range(len(layers))]
    return [
        [step * (start + block) for block in range(count)]
        for start, count in zip(starts, layers, strict=True)
    ]


class Stage(nn.Sequential):
    """Blocks of one resolution.

    Attributes:
        grad_checkpointing: In training, save only the input of each block for the backward pass.
    """

    grad_checkpointing = False

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, ceil(H/stride), ceil(W/stride))."""
        if not (self.grad_checkpointing and self.training):
            return super().forward(x)
        for block in self:
            x = checkpoint_module(block, x)
        return x


def make_stage(in_channels: int, plan: StagePlan, spatial: SpatialLayer, style: Style) -> Stage:
    """Build a stage, whose first block has the stride.

    Args:
        in_channels: Channels of the stage's input.
        plan: Numbers of the stage.
        spatial: Builds the middle layer of each block.
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
    return Stage(*blocks)
