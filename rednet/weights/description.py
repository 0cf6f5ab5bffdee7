"""What a file says about its network, images and classes."""

import argparse
import json
from collections.abc import Callable, Mapping
from typing import Any

import timm
from timm.data import resolve_data_config
from timm.models import get_pretrained_cfg
from torch import Tensor

from rednet.models.variants import PRETRAINED_CFG
from rednet.weights.architecture import count_classes, infer_architecture
from rednet.weights.checkpoint import OURS
from rednet.weights.naming import is_rednet
from rednet.wording import class_name

SOURCE_OPTIONS = (
    "pretrained",
    "pretrained_cfg",
    "pretrained_cfg_overlay",
    "checkpoint_path",
    "cache_dir",
)
"""Options of `timm.create_model` that say where weights come from, not what the network is."""
CFG_NAMES = ("crop_pct", "interpolation", "mean", "std")
RELEASED = (1000, 3)
"""Classes and image channels of the released networks."""


def check_description(content: Mapping[str, Any]) -> None:
    """Check the description in a checkpoint of ours, which may come from anybody.

    Raises:
        ValueError: A value has the wrong type.
    """
    for name, is_valid in CHECKS.items():
        value = content.get(name)
        if value is not None and not is_valid(value):
            raise ValueError(f"wrong type of {name}")


def find_model(
    kind: str, content: Mapping[str, Any], weights: Mapping[str, Tensor]
) -> tuple[dict[str, Any] | None, bool]:
    """Find which network a file belongs to.

    Args:
        kind: Kind of the file, see `rednet.weights.Checkpoint`.
        content: Content of the file.
        weights: Tensors, under our names if they are a RedNet's.

    Returns:
        Name and options of the network, None if unknown, and whether they were inferred from the
        tensors.
    """
    if kind in OURS and content.get("model") is not None:
        return _network(**content["model"]), bool(content.get("is_recognised"))
    inferred = infer_architecture(weights)
    if kind == "timm":
        given: Any = getattr(content.get("args"), "model_kwargs", None)
        options = given if _is_options(given) else {}
        if inferred is not None:
            return _network(inferred["name"], {**inferred["options"], **options}), True
        if timm.is_model(content["arch"]):
            return _network(content["arch"], options), False
    return inferred, inferred is not None


def _network(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return name and options without `SOURCE_OPTIONS`."""
    return {
        "name": name,
        "options": {key: value for key, value in options.items() if key not in SOURCE_OPTIONS},
    }


def describe_data(
    kind: str, content: Mapping[str, Any], weights: Mapping[str, Tensor]
) -> dict[str, Any]:
    """Return the fields of a `Checkpoint` about images and classes.

    Args:
        kind: As in `find_model`.
        content: As in `find_model`.
        weights: As in `find_model`.
    """
    num_classes = in_chans = preprocessing = names = None
    if kind in OURS:
        preprocessing, names = content.get("preprocessing"), content.get("class_names")
        num_classes = None if names is None else len(names)
        in_chans = len(preprocessing["mean"]) if preprocessing else None
    if is_rednet(weights):
        num_classes, in_chans = count_classes(weights), weights["stem.0.conv.weight"].shape[1]
    is_released = is_rednet(weights) and (num_classes, in_chans) == RELEASED
    if kind == "timm" and isinstance(content.get("args"), argparse.Namespace):
        cfg = PRETRAINED_CFG if is_rednet(weights) else _pretrained_cfg(content["arch"])
        preprocessing = _preprocessing_of_timm(content["args"], cfg, in_chans)
    elif kind not in OURS and is_released:
        preprocessing = imagenet_preprocessing()
    if kind not in OURS and not is_released:  # OpenMMLab's names of ImageNet's are no synsets
        names = _class_names_of_openmmlab(content.get("meta"), num_classes)
    return {
        "num_classes": num_classes,
        "in_chans": in_chans,
        "preprocessing": preprocessing and _with_tuples(preprocessing),
        "class_names": None if names is None else [class_name(name) for name in names],
    }


def imagenet_preprocessing() -> dict[str, Any]:
    """Return the original's image preparation, by the names of `rednet.data.Preprocessing`."""
    preprocessing = _preprocessing_of_timm(argparse.Namespace(), PRETRAINED_CFG, None)
    assert preprocessing is not None
    return preprocessing


def _preprocessing_of_timm(
    args: argparse.Namespace, cfg: Mapping[str, Any], in_chans: int | None
) -> dict[str, Any] | None:
    """Return a network's image preparation with the changes of timm's command-line arguments.

    Return None if images are not square, or have other channels than the network.
    """
    try:
        config = resolve_data_config(vars(args), cfg)
    except (AssertionError, TypeError):  # of values that timm's own program would not accept
        return None
    _, height, width = config["input_size"]
    preprocessing = {"image_size": height, **{name: config[name] for name in CFG_NAMES}}
    fits = in_chans in (None, len(config["mean"]))
    return preprocessing if height == width and fits and _is_preprocessing(preprocessing) else None


def _pretrained_cfg(arch: str) -> dict[str, Any]:
    cfg = get_pretrained_cfg(arch) if timm.is_model(arch) else None
    return cfg.to_dict() if cfg else {}


def _class_names_of_openmmlab(meta: Any, num_classes: int | None) -> list[str] | None:
    """Return the classes' names that OpenMMLab's programs write, if there is one per output."""
    meta = meta if isinstance(meta, dict) else {}
    of_data = meta.get("dataset_meta")
    found = meta.get("CLASSES") or (of_data.get("classes") if isinstance(of_data, dict) else None)
    names = list(found) if isinstance(found, list | tuple) else None
    return names if names and len(names) == num_classes and all(map(_is_str, names)) else None


def _with_tuples(preprocessing: Mapping[str, Any]) -> dict[str, Any]:
    return {**preprocessing, **{name: tuple(preprocessing[name]) for name in ("mean", "std")}}


def _is_str(value: object) -> bool:
    return isinstance(value, str)


def _is_json(value: object) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


def _is_options(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_str, value)) and _is_json(value)


def _is_network(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"name", "options"}
        and _is_str(value["name"])
        and _is_options(value["options"])
    )


def _is_preprocessing(value: Any) -> bool:
    if not isinstance(value, dict) or value.keys() != {"image_size", *CFG_NAMES}:
        return False
    numbers = (value["crop_pct"], *value["mean"], *value["std"])
    return (
        isinstance(value["image_size"], int)
        and _is_str(value["interpolation"])
        and all(isinstance(number, int | float) for number in numbers)
        and len(value["mean"]) == len(value["std"])
    )


def _is_data(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() >= {"name", "train", "val"}
        and _is_str(value["name"])
        and all(map(_is_half, (value["train"], value["val"])))
        and _is_options(value.get("sample", {}))
    )


def _is_half(value: object) -> bool:
    return value is None or (
        isinstance(value, dict)
        and value.keys() >= {"fingerprint", "samples"}
        and _is_str(value["fingerprint"])
        and isinstance(value["samples"], int)
    )


def _is_class_names(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_str, value))


CHECKS: dict[str, Callable[[Any], bool]] = {
    "model": _is_network,
    "is_recognised": lambda value: isinstance(value, bool),
    "preprocessing": _is_preprocessing,
    "class_names": _is_class_names,
    "config": _is_str,
    "data": _is_data,
    "metrics": _is_json,
    "versions": _is_json,
}
