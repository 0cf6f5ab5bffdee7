"""What a file says about its network, its pictures and its classes."""

import argparse
import json
from collections.abc import Callable, Mapping
from typing import Any

import timm
from timm.data import resolve_data_config
from torch import Tensor

from rednet.models.variants import PRETRAINED_CFG
from rednet.weights.architecture import count_classes, infer_architecture
from rednet.weights.checkpoint import OURS
from rednet.weights.naming import is_rednet

SOURCES = ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir")
CFG_NAMES = ("crop_pct", "interpolation", "mean", "std")
RELEASED = (1000, 3)
"""Classes and image channels of the released networks."""


def check_description(content: Mapping[str, Any]) -> None:
    """Checks what a checkpoint of ours says of itself, since anybody may have written it.

    Raises:
        ValueError: Some of it is nothing that ours say.
    """
    for name, is_sound in CHECKS.items():
        value = content.get(name)
        if value is not None and not is_sound(value):
            raise ValueError(f"nonsense under {name}")


def find_model(
    kind: str, content: Mapping[str, Any], weights: Mapping[str, Tensor]
) -> tuple[dict[str, Any] | None, bool]:
    """Finds out of which network a file is.

    Args:
        kind: Of the file, see `rednet.weights.Checkpoint`.
        content: Of the file.
        weights: Under our names if it is a RedNet.

    Returns:
        Its name and options, None where they cannot be known; and whether the tensors told them.
    """
    if kind in OURS and content.get("model") is not None:
        return _network(**content["model"]), bool(content.get("is_recognised"))
    recognised = infer_architecture(weights)
    if kind == "timm":
        given: Any = getattr(content.get("args"), "model_kwargs", None)
        options = given if _is_options(given) else {}
        if recognised is not None:
            return _network(recognised["name"], {**recognised["options"], **options}), True
        if timm.is_model(content["arch"]):
            return _network(content["arch"], options), False
    return recognised, recognised is not None


def _network(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """A network with its options, without those that say where weights came from."""
    return {
        "name": name,
        "options": {key: value for key, value in options.items() if key not in SOURCES},
    }


def describe_data(
    kind: str, content: Mapping[str, Any], weights: Mapping[str, Tensor]
) -> dict[str, Any]:
    """The fields of a `Checkpoint` about pictures and classes; arguments as of `find_model`."""
    num_classes = in_chans = preprocessing = names = None
    if kind in OURS:
        preprocessing, names = content.get("preprocessing"), content.get("class_names")
        num_classes = None if names is None else len(names)
        in_chans = len(preprocessing["mean"]) if preprocessing else None
    if is_rednet(weights):
        num_classes, in_chans = count_classes(weights), weights["stem.0.conv.weight"].shape[1]
        if kind not in OURS and (num_classes, in_chans) == RELEASED:
            preprocessing = _preprocessing_of_timm(content.get("args"))
    return {
        "num_classes": num_classes,
        "in_chans": in_chans,
        "preprocessing": preprocessing and _with_tuples(preprocessing),
        "class_names": names,
    }


def imagenet_preprocessing() -> dict[str, Any]:
    """How the original prepares pictures, by the names of `rednet.data.Preprocessing`."""
    preprocessing = _preprocessing_of_timm(None)
    assert preprocessing is not None
    return preprocessing


def _preprocessing_of_timm(args: object) -> dict[str, Any] | None:
    """The original's preparation, with what timm's command line changed; None if not square."""
    given = vars(args) if isinstance(args, argparse.Namespace) else {}
    config = resolve_data_config(given, PRETRAINED_CFG)
    _, height, width = config["input_size"]
    preprocessing = {"image_size": height, **{name: config[name] for name in CFG_NAMES}}
    return preprocessing if height == width and _is_preprocessing(preprocessing) else None


def _with_tuples(preprocessing: Mapping[str, Any]) -> dict[str, Any]:
    return {**preprocessing, **{name: tuple(preprocessing[name]) for name in ("mean", "std")}}


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_json(value: object) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


def _is_options(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_text, value)) and _is_json(value)


def _is_network(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"name", "options"}
        and _is_text(value["name"])
        and _is_options(value["options"])
    )


def _is_preprocessing(value: Any) -> bool:
    if not isinstance(value, dict) or value.keys() != {"image_size", *CFG_NAMES}:
        return False
    numbers = (value["crop_pct"], *value["mean"], *value["std"])
    return (
        isinstance(value["image_size"], int)
        and _is_text(value["interpolation"])
        and all(isinstance(number, int | float) for number in numbers)
        and len(value["mean"]) == len(value["std"])
    )


def _is_class_names(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


CHECKS: dict[str, Callable[[Any], bool]] = {
    "model": _is_network,
    "is_recognised": lambda value: isinstance(value, bool),
    "preprocessing": _is_preprocessing,
    "class_names": _is_class_names,
    "config": _is_text,
    "metrics": _is_json,
    "versions": _is_json,
}
