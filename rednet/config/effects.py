"""Keys that the rest of a configuration leaves without effect.

A key has an effect if another value of it, with all else equal, could change what a command does.
One that has none is a mistake where the user set it, since the user expects it to do something.
``false`` and ``null`` expect nothing: they are legal anywhere.

Rules that need the data, the network or the device are in `rednet.build.effects`.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rednet.models.variants import STAGE_STRIDES, STEMS

Lookup = Callable[[str], Any]
"""Returns the value of a dotted key, None for a key that the configuration lacks."""


@dataclass(frozen=True)
class Rule:
    """Keys without effect.

    Attributes:
        keys: Dotted keys.
        is_idle: Whether they have no effect in a configuration.
        reason: The rest of the line about each key.
        commands: Commands that the rule is for; empty for all that have the keys.
    """

    keys: tuple[str, ...]
    is_idle: Callable[[Lookup], bool]
    reason: str
    commands: tuple[str, ...] = ()


def _has_involution(get: Lookup) -> bool:
    return get("model.options.involution_stages") != []


def _keeps_size(get: Lookup) -> bool:
    """Whether images of Fashion-MNIST, which have 28 x 28 pixels, are never resized."""
    crops = (get("augment.scale"), get("augment.ratio")) != ([1, 1], [1, 1])
    sizes = get("data.image_size"), get("data.crop_pct")
    crops |= get("augment.image_size") not in (None, 28)
    is_plain = not crops and not get("augment.auto_augment") and get("checkpoint") is None
    return get("data.name") == "fashion_mnist" and sizes == (28, 1) and is_plain


def _stem_is_plain(get: Lookup) -> bool:
    stem = STEMS.get(get("model.options.stem"))
    return stem is not None and stem.involution_kernel_size is None


def _stem_keeps_size(get: Lookup) -> bool:
    """Whether the whole network has a stride of 8, the smallest that it can be limited to."""
    stem = STEMS.get(get("model.options.stem"))
    return stem is not None and stem.reduction * math.prod(STAGE_STRIDES) <= 8


def _has_whole_milestones(get: Lookup) -> bool:
    milestones = get("schedule.milestones")
    is_list = isinstance(milestones, list)
    return is_list and all(isinstance(item, int | float) and item % 1 == 0 for item in milestones)


def _has_hard_targets(get: Lookup) -> bool:
    return not any(get(f"augment.{key}") for key in ("label_smoothing", "mixup", "cutmix"))


def _trains_head_only(get: Lookup) -> bool:
    return get("finetune.freeze") == "backbone" and get("finetune.batch_norm") != "train"


def _ends_before_early_stopping(get: Lookup) -> bool:
    """Whether the run ends before so many epochs can pass after the first that counts."""
    patience, epochs = get("trainer.early_stopping"), get("schedule.epochs")
    every, head_epochs = get("trainer.eval_every"), get("finetune.head_epochs")
    if not all(isinstance(value, int) for value in (patience, epochs, every, head_epochs)):
        return False
    if get("finetune.freeze") == "backbone":
        head_epochs = 0  # all epochs count, since the rest never trains
    last = (epochs - 1) // max(1, every) * every  # the last evaluation before the end
    return bool(last - max(every, head_epochs) < patience)


def _is_other_data(names: Collection[str]) -> Callable[[Lookup], bool]:
    return lambda get: get("data.name") not in names


def _kinds(names: Sequence[str]) -> str:
    """Return choices of the data, such as "data=csv or image_folder"."""
    *first, last = names
    return f"data={', '.join(first)} or {last}" if first else f"data={last}"


ORDERABLE = ("image_folder", "csv")
"""Kinds of data whose classes have no order but that of their names."""

DIVISIBLE = ("image_folder", "csv", "webdataset")
"""Kinds of data that may have no splits and are then split here."""

KEYS_OF_DATA = {
    ("data.table", "data.split_column"): ("csv",),
    ("data.shards", "data.val_shards"): ("webdataset",),
    ("data.image_column", "data.label_column", "data.classes"): ("csv", "webdataset"),
}
"""Keys of some kinds of data alone."""

KEYS_OF_SOME_DATA = tuple(key for keys in KEYS_OF_DATA for key in keys)

OF_INVOLUTION = tuple(
    f"model.options.{name}"
    for name in ("kernel_size", "group_channels", "reduction", "generator", "generator_options")
)

OF_BACKBONE_TRAINING = ("model.options.recompute_kernel", "model.options.drop_path_rate")

RULES = (
    Rule(
        ("schedule.milestones", "schedule.gamma"),
        lambda get: get("schedule.name") != "step",
        "only schedule=step uses it",
    ),
    Rule(
        ("schedule.min_lr",),
        lambda get: get("schedule.name") != "cosine",
        "only schedule=cosine and schedule=paper use it",
    ),
    Rule(
        ("schedule.step_on",),
        lambda get: get("schedule.name") == "constant",
        "has no effect with schedule=constant",
    ),
    Rule(
        ("schedule.step_on",),
        lambda get: get("schedule.name") == "step" and _has_whole_milestones(get),
        "has no effect with schedule=step, unless a milestone lies inside an epoch",
    ),
    Rule(
        ("schedule.warmup_start",),
        lambda get: get("schedule.warmup_epochs") == 0,
        "has no effect with schedule.warmup_epochs=0",
    ),
    Rule(
        ("schedule.warmup_epochs",),
        lambda get: get("schedule.warmup_start") == 1 and get("schedule.warmup_epochs") != 0,
        "has no effect with schedule.warmup_start=1",
    ),
    Rule(
        ("optimizer.decay_all",),
        lambda get: get("optimizer.weight_decay") == 0,
        "has no effect with optimizer.weight_decay=0",
    ),
    Rule(
        ("trainer.clip_mode",),
        lambda get: get("trainer.clip_grad") is None,
        "has no effect with trainer.clip_grad=null",
    ),
    Rule(
        ("trainer.max_skips", "trainer.max_skips_in_a_row"),
        lambda get: get("trainer.on_nonfinite") != "skip",
        "only trainer.on_nonfinite=skip uses it",
    ),
    Rule(
        ("trainer.max_rollbacks",),
        lambda get: get("trainer.on_nonfinite") != "rollback",
        "only trainer.on_nonfinite=rollback uses it",
    ),
    Rule(
        ("augment.mixup", "augment.cutmix"),
        lambda get: get("data.batch_size") == 1,
        "has no effect with data.batch_size=1, which leaves no pairs to blend",
    ),
    Rule(
        ("loss.target_threshold",),
        lambda get: get("loss.name") != "bce",
        "only loss=bce uses it",
    ),
    Rule(
        ("loss.target_threshold",),
        _has_hard_targets,
        "has no effect without label smoothing, mixup and cutmix: all targets are 0 or 1",
    ),
    Rule(
        ("loss.class_weights",),
        lambda get: (get("loss.class_weights"), get("data.sampler")) == ("balanced", "balanced"),
        "has no effect with data.sampler=balanced, which shows each class equally often",
    ),
    Rule(
        ("finetune.freeze_stages",),
        lambda get: get("finetune.freeze") != "stages",
        "only finetune.freeze=stages uses it",
    ),
    Rule(
        ("finetune.head_epochs",),
        lambda get: get("finetune.freeze") == "backbone" and get("finetune.head_epochs") != 0,
        "has no effect with finetune.freeze=backbone, which never trains the rest",
    ),
    Rule(
        ("optimizer.backbone_lr_scale", "optimizer.layer_decay"),
        _trains_head_only,
        "has no effect with finetune.freeze=backbone, which trains the classifier alone",
    ),
    Rule(
        ("trainer.grad_checkpointing", *OF_BACKBONE_TRAINING),
        _trains_head_only,
        "has no effect with finetune.freeze=backbone, through which no gradient flows",
    ),
    Rule(
        ("trainer.clip_grad",),
        lambda get: get("trainer.clip_mode") == "agc" and _trains_head_only(get),
        "has no effect with trainer.clip_mode=agc and finetune.freeze=backbone: agc leaves the "
        "classifier alone",
    ),
    Rule(
        ("trainer.early_stopping",),
        _ends_before_early_stopping,
        "has no effect in a run of so few epochs",
    ),
    Rule(
        ("data.split",),
        lambda get: True,
        "this command reads the training and the validation images",
        commands=("train",),
    ),
    Rule(
        ("data.val_fraction",),
        lambda get: get("data.name") not in DIVISIBLE,
        f"only {_kinds(DIVISIBLE)} uses it",
    ),
    Rule(
        ("data.class_order",),
        lambda get: get("data.name") not in ORDERABLE,
        f"only {_kinds(ORDERABLE)} uses it",
    ),
    Rule(
        ("data.root",),
        lambda get: get("data.name") == "webdataset",
        "has no effect with data=webdataset: data.shards has the paths",
    ),
    Rule(
        ("data.class_order",),
        lambda get: get("data.classes") is not None,
        "has no effect with data.classes=FILE, which has the order",
    ),
    *(
        Rule(keys, _is_other_data(names), f"only {_kinds(names)} uses it")
        for keys, names in KEYS_OF_DATA.items()
    ),
    Rule(
        ("seed",),
        lambda get: get("data.name") not in DIVISIBLE,
        f"this command uses it only to split a data set, with {_kinds(DIVISIBLE)}",
        commands=("evaluate",),
    ),
    Rule(
        ("data.on_unreadable", "data.max_unreadable", "data.max_pixels", "data.check"),
        lambda get: get("data.name") == "fashion_mnist",
        "has no effect with data=fashion_mnist, which has no image files",
    ),
    Rule(
        ("data.timeout", "data.max_worker_restarts"),
        lambda get: get("data.num_workers") == 0,
        "has no effect with data.num_workers=0",
    ),
    Rule(
        ("data.interpolation",),
        _keeps_size,
        "has no effect with data=fashion_mnist at 28 px, which resizes nothing",
        commands=("train",),
    ),
    Rule(
        ("trainer.optimize",),
        lambda get: get("features") is True,
        "has no effect with features=true, which needs the network's parts",
        commands=("predict",),
    ),
    Rule(
        ("resume",),
        lambda get: get("resume") in ("auto", "force") and get("output_dir") is None,
        "has no effect without output_dir=FOLDER, the run to continue",
    ),
    Rule(
        ("checkpoint",),
        lambda get: get("resume") not in ("auto", "force", "never", None),
        "has no effect with resume=PATH, which continues with the weights of that run",
        commands=("train",),
    ),
    Rule(
        ("model.options.pretrained",),
        lambda get: get("checkpoint") is not None,
        "has no effect with checkpoint=FILE, which has the weights",
    ),
    Rule(
        OF_INVOLUTION,
        lambda get: not _has_involution(get),
        "has no effect with involution_stages=[]",
    ),
    Rule(
        ("model.options.recompute_kernel",),
        lambda get: not _has_involution(get) and _stem_is_plain(get),
        "has no effect without involutions",
    ),
    Rule(
        ("model.options.output_stride",),
        _stem_keeps_size,
        "has no effect with stem=small, whose output has stride 8",
    ),
    Rule(
        ("model.options.reduction",),
        lambda get: get("model.options.generator") == "linear",
        "has no effect with generator=linear",
    ),
)


def idle_keys(
    command: str, plain: Mapping[str, Any], explicit_keys: Collection[str]
) -> dict[str, str]:
    """Return the explicit keys that have no effect, each with the line about it.

    Args:
        command: Name of the command.
        plain: Configuration of plain dicts, lists and values.
        explicit_keys: Dotted keys that the user set.
    """

    def get(key: str) -> Any:
        value: Any = plain
        for name in key.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        return value

    return {
        key: f"{key}: {reason}"
        for key, reason in without_effect(command, get)
        if key in explicit_keys and expects_something(get(key))
    }


def without_effect(command: str, get: Lookup) -> Iterator[tuple[str, str]]:
    """Yield each key that has no effect in a configuration, with the reason."""
    for rule in _rules_of(command):
        if rule.is_idle(get):
            yield from ((key, rule.reason) for key in rule.keys)


def expects_something(value: Any) -> bool:
    """Return whether a value asks for more than the absence of something."""
    return value is not None and value is not False


def _rules_of(command: str) -> Iterator[Rule]:
    return (rule for rule in RULES if not rule.commands or command in rule.commands)
