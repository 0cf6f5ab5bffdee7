"""What a run is: the data and settings that must not change while it is continued.

Two descriptions are compared, that in a checkpoint of the run and that of the run about to start.
What only one of them knows, such as a setting that is newer than the checkpoint, is not compared.
"""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from rednet.config.effects import without_effect
from rednet.config.problems import RENAMED_KEYS, RENAMED_VALUES, format_value
from rednet.data import count_equal
from rednet.models.rednet import RedNet
from rednet.models.variants import LAYERS
from rednet.weights import read_run_config
from rednet.wording import count, printable

NEVER_COMPARED = frozenset(
    [
        # Where the run reads, writes and computes; the images are known by their fingerprint.
        *("data.root", "data.num_workers", "output_dir", "trainer.device"),
        *("data.table", "data.shards", "data.val_shards", "data.dataset", "data.config"),
        *("data.train_split", "data.val_split"),
        *("data.image_column", "data.label_column", "data.split_column", "data.classes"),
        # What evaluate reads, and an order that is compared as the class names.
        *("data.split", "data.class_order"),
        # How it computes, with the same result up to rounding.
        *("trainer.channels_last", "trainer.compile", "trainer.deterministic", "trainer.tf32"),
        *("trainer.grad_checkpointing", "model.options.recompute_kernel", "trainer.optimize"),
        # Compared as the global batch.
        *("data.batch_size", "trainer.grad_accum_steps"),
        # When it evaluates, logs, saves and ends.
        *("trainer.eval_every", "trainer.log_every", "trainer.max_steps", "resume"),
        *("logger", "debug", "debug.mode", "debug.max_steps", "debug.warmup_steps"),
        *("debug.steps", "debug.top"),
        *("trainer.timeout", "trainer.early_stopping", "trainer.find_batch_size"),
        *("trainer.keep_latest", "trainer.keep_best", "trainer.keep_every_epochs"),
        *("trainer.save_every_minutes", "trainer.save_every_steps"),
        # What it does about bad images, workers and numbers.
        *("data.on_unreadable", "data.max_unreadable", "data.max_pixels", "data.check"),
        *("data.timeout", "data.max_worker_restarts", "trainer.on_nonfinite"),
        *("trainer.max_skips", "trainer.max_skips_in_a_row", "trainer.max_rollbacks"),
        # A search, of which the run may be a trial.
        *("search", "search.name", "search.space", "search.trials", "search.metric"),
        *("search.sampler", "search.pruner", "search.startup_trials"),
    ]
)
"""Dotted keys of the configuration that may change from one start of a run to the next."""

SHARDING = ("world_size", "data.batch_size", "trainer.grad_accum_steps")
"""What divides the global batch into micro-batches."""

BEFORE_THERE_WERE_KEYS = {
    **{"data.sampler": "shuffle", "loss.name": "cross_entropy", "loss.class_weights": None},
    **{"finetune.freeze": "none", "finetune.batch_norm": "follow", "finetune.head_epochs": 0},
    **{"optimizer.backbone_lr_scale": None, "optimizer.layer_decay": None},
    **{"augment.image_size": None, "augment.repeats": 1},
}
"""What runs did that were saved before the configuration had these keys."""

_LAYER_NAMES = {"norm_layer": "batchnorm2d", "act_layer": "relu"}
"""timm's names of the classes that are RedNet's defaults."""


def identity(description: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must stay the same over the whole of a run, by dotted key.

    Equal networks have equal entries: the defaults of a RedNet's options are filled in. Keys that
    the others leave without effect have none.

    Args:
        description: Content of a checkpoint, or the description that goes into the next one.
    """
    config = _config(description)
    entries = {
        key: value
        for key, value in config.items()
        if key not in NEVER_COMPARED and not key.startswith("model.")
    }
    if isinstance(path := config.get("checkpoint"), str):
        entries["checkpoint"] = PurePath(path).name
    # What was derived from the settings takes precedence over them.
    entries |= _flatten(description.get("preprocessing", {}), "data.")
    entries |= _model(description.get("model", {}))
    entries |= _images(description.get("data") or {})
    weights = config.get("loss.class_weights")
    if isinstance(weights, str) and weights != "balanced" and "class_weights" in description:
        entries["loss.class_weights"] = description["class_weights"]  # what the file said
    others = ("class_names", "global_batch")
    entries |= {key: _plain(description[key]) for key in others if key in description}
    idle = {key for key, _ in without_effect("train", config.get)}
    return {key: value for key, value in entries.items() if key not in idle}


def differences(saved: Mapping[str, Any], current: Mapping[str, Any]) -> list[str]:
    """Return one line for each difference between a run and what is about to continue it.

    Args:
        saved: Content of a checkpoint of the run.
        current: Description of the run that is about to start.
    """
    return [_line(key, before, now) for key, before, now in _changes(saved, current)]


def unforceable_differences(saved: Mapping[str, Any], current: Mapping[str, Any]) -> list[str]:
    """Return those lines of `differences` with which the checkpoint cannot be loaded at all.

    The weights must fit the network, and the optimizer's state must fit its groups of parameters.
    """
    changes = list(_changes(saved, current))
    groups = {_parameter_groups(each) for each in (identity(saved), identity(current))}
    return [
        _line(key, before, now)
        for key, before, now in changes
        if key in ("model.name", "class_names", "optimizer.name")
        or (key.startswith("model.options.") and "drop" not in key)
        or (key == "data.mean" and len(before) != len(now))
        or (key in GROUPING and len(groups) > 1)
    ]


def sharding_differences(saved: Mapping[str, Any], current: Mapping[str, Any]) -> list[str]:
    """Return one line for each change in how the global batch is divided into micro-batches.

    Such a change continues the same run, but no longer to the last bit: batch normalisation sees
    other micro-batches, and every rank has its own random numbers.
    """
    before, now = ({**_config(description), **description} for description in (saved, current))
    return [
        _line(key, before[key], now[key])
        for key in SHARDING
        if key in before and key in now and before[key] != now[key]
    ]


def _changes(
    saved: Mapping[str, Any], current: Mapping[str, Any]
) -> Iterator[tuple[str, Any, Any]]:
    """Yield each key that differs, with its value in the run and here."""
    before, now = identity(saved), identity(current)
    same_network = before.get("model.name") == now.get("model.name")
    # Where both splits have the same images, it does not matter how they were split.
    splits = ("data.train", "data.val")
    same_images = all(split in before and before[split] == now.get(split) for split in splits)
    for key in dict.fromkeys([*before, *now]):
        is_option = key.startswith("model.options.")
        if (is_option and not same_network) or (key == "data.val_fraction" and same_images):
            continue
        if is_option or (key in before and key in now):
            values = before.get(key), now.get(key)
            if values[0] != values[1]:
                yield key, *values
    samples = [(each.get("data") or {}).get("sample", {}) for each in (saved, current)]
    shared, equal = count_equal(*samples)
    # A few files may have been repaired since; if the images differ, that was said above.
    if 2 * equal < shared and before.get("data.train") == now.get("data.train"):
        yield "data.train", f"{shared} images looked at", f"{equal} of them with the same content"


def _line(key: str, before: Any, now: Any) -> str:
    if key == "class_names":
        return f"class_names: {printable(_first_difference(before, now))}"
    texts = [
        "the default" if value is None and key.startswith("model.options.") else _text(value)
        for value in (before, now)
    ]
    return printable(f"{key}: {texts[0]} in the run, {texts[1]} here")


def _first_difference(before: Sequence[str], now: Sequence[str]) -> str:
    if len(before) != len(now):
        return f"{count(len(before), 'class')} in the run, {len(now)} here"
    index = next(index for index, name in enumerate(before) if name != now[index])
    names = format_value(before[index]), format_value(now[index])
    return f"class {index} is {names[0]} in the run, {names[1]} here"


def _text(value: Any) -> str:
    if isinstance(value, Mapping):  # one split of the data
        return f"{count(value['samples'], 'image')} (fingerprint {value['fingerprint'][:12]})"
    return value if isinstance(value, str) else format_value(value)


def _config(description: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration by dotted key, by today's names."""
    entries = _flatten(read_run_config(description["config"]))
    renamed = {RENAMED_KEYS.get(key, key): value for key, value in entries.items()}
    renamed = {**BEFORE_THERE_WERE_KEYS, **renamed}
    return {
        key: RENAMED_VALUES.get((key, value), value) if isinstance(value, str) else value
        for key, value in renamed.items()
    }


def _images(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of the images of each split of the data."""
    splits = {split: data[split] for split in ("train", "val") if data.get(split)}
    known = ("samples", "fingerprint")
    return {f"data.{split}": {key: found[key] for key in known} for split, found in splits.items()}


def _model(model: Mapping[str, Any]) -> dict[str, Any]:
    if "name" not in model:
        return {}
    options = {key: value for key, value in model.get("options", {}).items() if value is not None}
    if model["name"] in LAYERS:
        options = {**_default_options(model["name"]), **options}
        for key in _LAYER_NAMES:
            options[key] = str(options[key]).lower()
    entries = {"model.name": model["name"], **_flatten(options, "model.options.")}
    return {key: value for key, value in entries.items() if key not in NEVER_COMPARED}


def _default_options(name: str) -> dict[str, Any]:
    """Return the defaults of the options of a RedNet, apart from those that are None."""
    parameters = inspect.signature(RedNet).parameters
    defaults = {key: parameter.default for key, parameter in parameters.items()}
    del defaults["num_classes"], defaults["in_chans"]  # they follow the data
    defaults |= {"layers": LAYERS[name], **_LAYER_NAMES}
    return {key: value for key, value in defaults.items() if value is not None}


GROUPING = (
    *("optimizer.decay_all", "optimizer.weight_decay", "optimizer.layer_decay"),
    *("optimizer.backbone_lr_scale", "finetune.freeze", "finetune.freeze_stages"),
    "finetune.batch_norm",
)
"""Keys that say which parameters the optimizer has, and in which groups."""


def _parameter_groups(entries: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return values that are equal only for equal groups of parameters."""
    is_one_group = entries["optimizer.weight_decay"] == 0 or entries["optimizer.decay_all"]
    scales = ("optimizer.layer_decay", "optimizer.backbone_lr_scale")
    frozen = [entries.get(key) for key in GROUPING if key.startswith("finetune.")]
    return (is_one_group, *(entries.get(key) is None for key in scales), *frozen)


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested values by dotted key; an empty group has none."""
    entries: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            entries |= _flatten(value, f"{prefix}{name}.")
        else:
            entries[f"{prefix}{name}"] = _plain(value)
    return entries


def _plain(value: Any) -> Any:
    """Return a value in which tuples are lists."""
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
