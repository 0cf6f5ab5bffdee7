"""The schema of the configuration: every key, its type and its range, checked before the run.

The values themselves are in ``configs/``: the schema has no numbers of its own to fall back on.
"""

import dataclasses
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Self

from omegaconf import OmegaConf
from pydantic import ConfigDict, StrictBool, StrictStr, TypeAdapter, model_validator
from pydantic.dataclasses import dataclass

from rednet.config.problems import ConfigError, missing, schema_problems, show, unset, without_unset
from rednet.config.types import (
    BelowOne,
    BlocksPerStage,
    Count,
    Decay,
    Device,
    GroupChannels,
    MeanPerChannel,
    NonNegative,
    NonNegativeInt,
    OddCount,
    Part,
    PartRange,
    Positive,
    PositiveRange,
    Probability,
    Seed,
    Stage,
    StdPerChannel,
    Text,
)

_RULES = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(config=_RULES, frozen=True, kw_only=True)
class RedNetOptions:
    """What a RedNet can be told in ``model.options``; null leaves it to the model."""

    kernel_size: OddCount | None = None
    group_channels: GroupChannels | None = None
    reduction: Count | None = None
    generator: Literal["bottleneck", "linear", "attention"] | None = None
    generator_options: dict[str, Any] | None = None
    recompute_kernel: StrictBool | None = None
    stem: Literal["involution3", "involution7", "conv7", "small"] | None = None
    width: Positive | None = None
    layers: BlocksPerStage | None = None
    involution_stages: list[Stage] | None = None
    drop_path_rate: BelowOne | None = None
    drop_rate: BelowOne | None = None
    output_stride: Literal[8, 16, 32] | None = None
    global_pool: StrictStr | None = None
    act_layer: Text | None = None
    norm_layer: Text | None = None


@dataclass(config=_RULES, frozen=True, kw_only=True)
class Model:
    """The network: a name that timm knows and its keyword arguments."""

    name: Text
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclass(config=_RULES, frozen=True, kw_only=True)
class Data:
    """The pictures and how they become tensors."""

    name: Literal["fashion_mnist", "imagenet", "image_folder"]
    root: Text | None
    image_size: Count
    crop_pct: Part
    interpolation: Literal["bilinear", "bicubic", "nearest", "lanczos"]
    mean: MeanPerChannel
    std: StdPerChannel
    batch_size: Count
    num_workers: NonNegativeInt | None
    train_samples: Count | None
    val_samples: Count | None
    val_fraction: Part
    on_unreadable: Literal["error", "skip"]
    max_unreadable: NonNegativeInt

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.mean) != len(self.std):
            raise ValueError(
                f"mean: must have as many numbers as data.std, got {self.mean} and {self.std}"
            )
        return self


@dataclass(config=_RULES, frozen=True, kw_only=True)
class Augment:
    """How training pictures and labels are varied."""

    scale: PartRange
    ratio: PositiveRange
    hflip: Probability
    color_jitter: NonNegative | None
    auto_augment: Text | None
    random_erasing: Probability
    mixup: NonNegative
    cutmix: NonNegative
    label_smoothing: BelowOne


@dataclass(config=_RULES, frozen=True, kw_only=True)
class Optimizer:
    """One of timm's optimizers; `reference_batch` is the global batch that `lr` is meant for."""

    name: Text
    lr: Positive
    momentum: BelowOne
    weight_decay: NonNegative
    decay_all: StrictBool
    reference_batch: Count | None


@dataclass(config=_RULES, frozen=True, kw_only=True)
class Schedule:
    """The learning rate over the run; `milestones` and `gamma` are those of the step schedule."""

    name: Literal["cosine", "step", "constant"]
    epochs: Count
    warmup_epochs: NonNegative
    warmup_start: Probability
    min_lr: NonNegative
    step_on: Literal["epoch", "update"]
    milestones: list[Positive] | None
    gamma: Part | None

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


@dataclass(config=_RULES, frozen=True, kw_only=True)
class Trainer:
    """The loop and the device it runs on."""

    device: Device
    precision: Literal["fp32", "bf16", "fp16"]
    clip_grad: Positive | None
    clip_mode: Literal["norm", "value", "agc"]
    accumulate: Count
    channels_last: StrictBool
    compile: StrictBool
    checkpoint_activations: StrictBool
    ema_decay: Decay | None
    max_updates: Count | None
    on_nonfinite: Literal["raise", "skip"]
    deterministic: StrictBool
    tf32: StrictBool
    sync_bn: StrictBool
    eval_every: Count
    log_every: Count
    keep_latest: Count
    keep_best: NonNegativeInt


@dataclass(config=_RULES, frozen=True, kw_only=True)
class Config:
    """A whole run. `model` is None in an evaluation that takes it from the checkpoint."""

    model: Model | None
    data: Data
    augment: Augment
    optimizer: Optimizer
    schedule: Schedule
    trainer: Trainer
    seed: Seed
    output_dir: Text | None
    resume: Text
    checkpoint: Text | None


def validate(plain: Mapping[str, Any]) -> Config:
    """Checks a configuration made of plain dicts, lists and values.

    Raises:
        ConfigError: with one line for every unknown key, missing or wrong value.
    """
    problems = find_problems(plain)
    if problems:
        raise ConfigError(problems)
    return TypeAdapter(Config).validate_python(plain)


def find_problems(plain: Mapping[str, Any], *, allow_missing: bool = False) -> list[str]:
    """Everything that is wrong with a configuration, in one line each.

    Args:
        plain: plain dicts, lists and values.
        allow_missing: whether values that the user has yet to give (``???``) are no problem.
    """
    lines = [] if allow_missing else [missing(key) for key in unset(plain)]
    given, legal = without_unset(plain), legal_keys()
    lines += schema_problems(Config, given, legal, allow_missing=allow_missing)
    model = given.get("model")
    if isinstance(model, Mapping) and isinstance(model.get("options"), Mapping):
        lines += _option_problems(str(model.get("name")), model["options"], legal)
    return list(dict.fromkeys(lines))


def legal_keys() -> dict[str, bool]:
    """Every dotted key of the command line, and whether its value may be null."""
    return {
        "experiment": True,  # a group of the command line that leaves no key of its own
        **dict(_keys(Config, "")),
        **dict(_keys(RedNetOptions, "model.options.")),
    }


def to_yaml(config: Config) -> str:
    """The configuration as YAML, which `validate` takes back once it is loaded."""
    return OmegaConf.to_yaml(OmegaConf.create(dataclasses.asdict(config)))


def _option_problems(name: str, options: Mapping[str, Any], legal: Mapping[str, bool]) -> list[str]:
    own = [key for key in ("num_classes", "in_chans") if key in options]
    lines = [f"model.options.{key}: follows the data, leave it out" for key in own]
    if name.startswith("rednet"):
        rest = {key: value for key, value in options.items() if key not in own}
        lines += schema_problems(RedNetOptions, rest, legal, ("model", "options"))
    return lines


def _keys(schema: type, prefix: str) -> Iterator[tuple[str, bool]]:
    for name, hint in typing.get_type_hints(schema).items():
        kinds = typing.get_args(hint) or (hint,)
        yield prefix + name, type(None) in kinds
        for group in filter(dataclasses.is_dataclass, kinds):
            yield from _keys(typing.cast(type, group), f"{prefix}{name}.")
