"""The groups of the configuration: every key, its type and its range, checked before the run.

The values themselves are in ``configs/``: the schema has no numbers of its own to fall back on.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any, Literal, Self

from pydantic import ConfigDict, StrictBool, StrictStr, model_validator
from pydantic.dataclasses import dataclass

from rednet.config.problems import show
from rednet.config.types import (
    BelowOne,
    BlocksPerStage,
    Count,
    Decay,
    Device,
    Fraction,
    FractionRange,
    GroupChannels,
    MeanPerChannel,
    NonNegative,
    NonNegativeInt,
    OddCount,
    Positive,
    PositiveRange,
    Probability,
    Stage,
    StdPerChannel,
    StemName,
    Text,
)

RULES = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(config=RULES, frozen=True, kw_only=True)
class RedNetOptions:
    """What a RedNet can be told in ``model.options``; null leaves it to the model."""

    kernel_size: OddCount | None = None
    group_channels: GroupChannels | None = None
    reduction: Count | None = None
    generator: Literal["bottleneck", "linear", "attention"] | None = None
    generator_options: dict[str, Any] | None = None
    recompute_kernel: StrictBool | None = None
    stem: StemName | None = None
    width: Positive | None = None
    layers: BlocksPerStage | None = None
    involution_stages: list[Stage] | None = None
    drop_path_rate: BelowOne | None = None
    drop_rate: BelowOne | None = None
    output_stride: Literal[8, 16, 32] | None = None
    global_pool: StrictStr | None = None
    act_layer: Text | None = None
    norm_layer: Text | None = None


@dataclass(config=RULES, frozen=True, kw_only=True)
class Model:
    """The network: a name that timm knows and its keyword arguments."""

    name: Text
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclass(config=RULES, frozen=True, kw_only=True)
class Data:
    """The pictures and how they become tensors."""

    name: Literal["fashion_mnist", "imagenet", "image_folder"]
    root: Text | None
    image_size: Count
    crop_pct: Fraction
    interpolation: Literal["bilinear", "bicubic", "nearest", "lanczos", "opencv"]
    mean: MeanPerChannel
    std: StdPerChannel
    batch_size: Count
    num_workers: NonNegativeInt | None
    train_samples: Count | None
    val_samples: Count | None
    val_fraction: Fraction
    on_unreadable: Literal["error", "skip"]
    max_unreadable: NonNegativeInt

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.mean) != len(self.std):
            raise ValueError(
                f"mean: must have as many numbers as data.std, got {self.mean} and {self.std}"
            )
        return self


@dataclass(config=RULES, frozen=True, kw_only=True)
class Augment:
    """How training pictures and labels are varied."""

    scale: FractionRange
    ratio: PositiveRange
    hflip: Probability
    color_jitter: NonNegative | None
    auto_augment: Text | None
    random_erasing: Probability
    mixup: NonNegative
    cutmix: NonNegative
    label_smoothing: BelowOne


@dataclass(config=RULES, frozen=True, kw_only=True)
class Optimizer:
    """One of timm's optimizers; `lr_base_size` is the global batch that `lr` is meant for."""

    name: Text
    lr: Positive
    momentum: BelowOne
    weight_decay: NonNegative
    decay_all: StrictBool
    lr_base_size: Count | None


@dataclass(config=RULES, frozen=True, kw_only=True)
class Schedule:
    """The learning rate over the run; `milestones` and `gamma` are those of the step schedule."""

    name: Literal["cosine", "step", "constant"]
    epochs: Count
    warmup_epochs: NonNegative
    warmup_start: Probability
    min_lr: NonNegative
    step_on: Literal["epoch", "step"]
    milestones: list[Positive] | None
    gamma: Fraction | None

    @model_validator(mode="after")
    def _check(self) -> Self:
        problems = list(self._problems())
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _problems(self) -> Iterator[str]:
        if self.warmup_epochs > self.epochs:
            yield (
                f"warmup_epochs: must be at most schedule.epochs ({self.epochs}), "
                f"got {self.warmup_epochs:g}"
            )
        if self.name != "step":
            return
        if self.gamma is None:
            yield "gamma: must be a number where schedule.name is step, got null"
        steps = self.milestones or []
        if not steps or sorted(set(steps)) != steps or steps[-1] >= self.epochs:
            yield (
                "milestones: must be rising epochs less than schedule.epochs "
                f"({self.epochs}), got {show(self.milestones)}"
            )


@dataclass(config=RULES, frozen=True, kw_only=True)
class Trainer:
    """The loop and the device it runs on."""

    device: Device
    precision: Literal["fp32", "bf16", "fp16"]
    clip_grad: Positive | None
    clip_mode: Literal["norm", "value", "agc"]
    grad_accum_steps: Count
    channels_last: StrictBool
    compile: StrictBool
    grad_checkpointing: StrictBool
    ema_decay: Decay | None
    max_steps: Count | None
    on_nonfinite: Literal["raise", "skip"]
    deterministic: StrictBool
    tf32: StrictBool
    sync_bn: StrictBool
    eval_every: Count
    log_every: Count
    keep_latest: Count
    keep_best: NonNegativeInt
