"""The numbers of a RedNet's four stages: widths, strides, dilations, stochastic depth."""

from collections.abc import Sequence
from dataclasses import dataclass

from timm.layers import make_divisible

STAGES = (1, 2, 3, 4)
STAGE_WIDTHS = (64, 128, 256, 512)
STAGE_STRIDES = (1, 2, 2, 2)
WIDTH_DIVISOR = 16
POOLINGS = tuple(
    prefix + kind for prefix in ("", "fast") for kind in ("", "avg", "max", "avgmax", "catavgmax")
)


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


def scale(channels: int, width: float) -> int:
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
        plans.append(StagePlan(scale(channels, width), stride, dilations, reduction, rates))
    return plans


def _rising(last: float, layers: Sequence[int]) -> list[list[float]]:
    """Numbers from 0 to `last`, one per block, by stage."""
    step = last / max(1, sum(layers) - 1)
    starts = [sum(layers[:stage]) for stage in range(len(layers))]
    return [
        [step * (start + block) for block in range(count)]
        for start, count in zip(starts, layers, strict=True)
    ]


def check_options(
    layers: Sequence[int], output_stride: int, width: float, involution_stages: Sequence[int]
) -> None:
    """Raises ValueError for a network that cannot be."""
    if len(layers) != len(STAGES) or min(layers) < 1:
        raise ValueError(f"layers must be four numbers of at least 1, got {list(layers)}")
    if output_stride not in (8, 16, 32):
        raise ValueError(f"output_stride must be 8, 16 or 32, got {output_stride}")
    if width <= 0:
        raise ValueError(f"width must be positive, got {width}")
    if not set(involution_stages) <= set(STAGES):
        raise ValueError(f"involution_stages must be among 1 to 4, got {list(involution_stages)}")


def check_rates(**rates: float) -> None:
    """Raises ValueError unless all are probabilities below 1."""
    for name, rate in rates.items():
        if not 0 <= rate < 1:
            raise ValueError(f"{name} must be at least 0 and below 1, got {rate}")


def check_pooling(pool_type: str, num_classes: int) -> None:
    """Raises ValueError for a pooling that timm lacks, or that leaves a classifier no vector."""
    if pool_type not in POOLINGS:
        raise ValueError(f"global_pool must be one of {POOLINGS}, got {pool_type!r}")
    if not pool_type and num_classes > 0:
        raise ValueError(f"{num_classes} classes need a global_pool; '' goes with num_classes=0")
