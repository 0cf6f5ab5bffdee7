"""Groups of the configuration: the type and range of every key.

The default values are in ``configs/``, not in the schema.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any, Literal, Self

from pydantic import ConfigDict, StrictBool, StrictStr, model_validator
from pydantic.dataclasses import dataclass

from rednet.config.problems import format_value
from rednet.config.types import (
    BelowOne,
    BlocksPerStage,
    ClassWeights,
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
    PathText,
    Positive,
    PositiveRange,
    Probability,
    RecomputeKernel,
    Stage,
    StdPerChannel,
    StemName,
    Text,
)

RULES = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(config=RULES, frozen=True, kw_only=True)
class RedNetOptions:
    """Options of a RedNet in ``model.options``; null means the model's default."""

    kernel_size: OddCount | None = None
    group_channels: GroupChannels | None = None
    reduction: Count | None = None
    generator: Literal["bottleneck", "linear", "attention"] | None = None
    generator_options: dict[str, Any] | None = None
    recompute_kernel: RecomputeKernel | None = None
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
    """The network: its name in timm's registry and its keyword arguments."""

    name: Text
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclass(config=RULES, frozen=True, kw_only=True)
class Data:
    """The images and how they become tensors.

    Keys of some kinds of data alone have a default here, which their files replace.
    """

    name: Literal[
        "fashion_mnist",
        "imagenet",
        "image_folder",
        "csv",
        "webdataset",
        "huggingface",
        "imagenet_v2",
        "imagenet_real",
        "imagenet_sketch",
        "imagenet_a",
        "imagenet_r",
    ]
    root: PathText | None
    table: PathText | None = None
    image_column: Text | None = None
    label_column: Text | None = None
    split_column: Text | None = None
    classes: PathText | None = None
    shards: Text | None = None
    val_shards: Text | None = None
    dataset: PathText | None = None
    config: Text | None = None
    train_split: Text | None = None
    val_split: Text | None = None
    split: Literal["train", "val", "test"] | None
    class_order: Literal["text", "natural"] | None
    image_size: Count
    crop_pct: Fraction
    interpolation: Literal["bilinear", "bicubic", "nearest", "lanczos", "opencv"]
    mean: MeanPerChannel
    std: StdPerChannel
    batch_size: Count
    num_workers: NonNegativeInt | None
    train_samples: Count | None
    val_samples: Count | None
    sampler: Literal["shuffle", "balanced"]
    val_fraction: Fraction
    on_unreadable: Literal["error", "skip"]
    max_unreadable: NonNegativeInt
    max_pixels: Count
    check: Literal["headers", "full", "none"]
    timeout: Positive | None
    max_worker_restarts: NonNegativeInt

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.mean) != len(self.std):
            raise ValueError(
                f"mean: must have as many numbers as data.std, got {self.mean} and {self.std}"
            )
        return self


@dataclass(config=RULES, frozen=True, kw_only=True)
class Augment:
    """Augmentation of training images and labels; ``image_size: null`` is that of `data`."""

    image_size: Count | None
    repeats: Count
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
class Loss:
    """The training loss; validation always reports the cross-entropy."""

    name: Literal["cross_entropy", "bce"]
    class_weights: ClassWeights | None
    target_threshold: BelowOne | None


@dataclass(config=RULES, frozen=True, kw_only=True)
class FineTune:
    """Which parts of a pretrained network train."""

    freeze: Literal["none", "backbone", "stages"]
    freeze_stages: NonNegativeInt
    batch_norm: Literal["follow", "freeze", "train"]
    head_epochs: NonNegativeInt


@dataclass(config=RULES, frozen=True, kw_only=True)
class Optimizer:
    """One of timm's optimizers; `lr_base_size` is the global batch size that `lr` is meant for."""

    name: Text
    lr: Positive
    momentum: BelowOne
    weight_decay: NonNegative
    decay_all: StrictBool
    lr_base_size: Count | None
    backbone_lr_scale: Positive | None
    layer_decay: Fraction | None


@dataclass(config=RULES, frozen=True, kw_only=True)
class Schedule:
    """The learning rate schedule; only ``name: step`` uses `milestones` and `gamma`."""

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
            yield "gamma: must be a number if schedule.name is step, got null"
        epochs = self.milestones or []
        if not epochs or sorted(set(epochs)) != epochs or epochs[-1] >= self.epochs:
            yield (
                "milestones: must be increasing epochs below schedule.epochs "
                f"({self.epochs}), got {format_value(self.milestones)}"
            )


@dataclass(config=RULES, frozen=True, kw_only=True)
class Trainer:
    """The training loop and its device."""

    device: Device
    precision: Literal["fp32", "bf16", "fp16"]
    clip_grad: Positive | None
    clip_mode: Literal["norm", "value", "agc"]
    grad_accum_steps: Count
    find_batch_size: StrictBool
    channels_last: StrictBool
    compile: StrictBool
    optimize: StrictBool
    grad_checkpointing: StrictBool
    ema_decay: Decay | None
    early_stopping: Count | None
    max_steps: Count | None
    on_nonfinite: Literal["raise", "skip", "rollback"]
    max_skips: NonNegativeInt
    max_skips_in_a_row: NonNegativeInt
    max_rollbacks: NonNegativeInt
    deterministic: StrictBool
    tf32: StrictBool
    sync_bn: StrictBool
    timeout: Positive
    eval_every: Count
    log_every: Count
    save_every_minutes: Positive | None
    save_every_steps: Count | None
    keep_latest: Count
    keep_best: NonNegativeInt
    keep_every_epochs: Count | None


@dataclass(config=RULES, frozen=True, kw_only=True)
class Debug:
    """A search for a mistake in place of a training; each mode's file has the keys that it uses."""

    mode: Literal["fast", "overfit", "profile", "nan"]
    max_steps: Count | None = None
    warmup_steps: NonNegativeInt | None = None
    steps: Count | None = None
    top: Count | None = None
