"""What a file says about its network, images and classes."""

from collections.abc import Mapping
from typing import Any

import timm
from torch import Tensor

from rednet.weights.architecture import count_classes, infer_architecture
from rednet.weights.checkpoint import DESCRIBED
from rednet.weights.checks import is_options, is_str
from rednet.weights.naming import is_rednet
from rednet.weights.preprocessing import imagenet_preprocessing, preprocessing_of_others
from rednet.wording import class_name

SOURCE_OPTIONS = (
    "pretrained",
    "pretrained_cfg",
    "pretrained_cfg_overlay",
    "checkpoint_path",
    "cache_dir",
)
"""Options of `timm.create_model` that say where weights come from, not what the network is."""
RELEASED = (1000, 3)
"""Classes and image channels of the released networks."""


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
    if kind in DESCRIBED and content.get("model") is not None:
        return _network(**content["model"]), bool(content.get("is_recognised"))
    inferred = infer_architecture(weights)
    if kind == "timm":
        given: Any = getattr(content.get("args"), "model_kwargs", None)
        options = given if is_options(given) else {}
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
    if kind in DESCRIBED:
        preprocessing, names = content.get("preprocessing"), content.get("class_names")
        num_classes = None if names is None else len(names)
        in_chans = len(preprocessing["mean"]) if preprocessing else None
    if is_rednet(weights):
        num_classes, in_chans = count_classes(weights), weights["stem.0.conv.weight"].shape[1]
    is_released = is_rednet(weights) and (num_classes, in_chans) == RELEASED
    if kind not in DESCRIBED:
        preprocessing = preprocessing_of_others(kind, content, in_chans)
        if preprocessing is None and is_released and kind != "timm":
            preprocessing = imagenet_preprocessing()
        if not is_released:  # OpenMMLab's names of ImageNet's classes are no synsets
            names = _class_names_of_openmmlab(content.get("meta"), num_classes)
    return {
        "num_classes": num_classes,
        "in_chans": in_chans,
        "preprocessing": preprocessing and _with_tuples(preprocessing),
        "class_names": None if names is None else [class_name(name) for name in names],
    }


def _class_names_of_openmmlab(meta: Any, num_classes: int | None) -> list[str] | None:
    """Return the classes' names that OpenMMLab's programs write, if there is one per output."""
    meta = meta if isinstance(meta, dict) else {}
    of_data = meta.get("dataset_meta")
    found = meta.get("CLASSES") or (of_data.get("classes") if isinstance(of_data, dict) else None)
    names = list(found) if isinstance(found, list | tuple) else None
    return names if names and len(names) == num_classes and all(map(is_str, names)) else None


def _with_tuples(preprocessing: Mapping[str, Any]) -> dict[str, Any]:
    return {**preprocessing, **{name: tuple(preprocessing[name]) for name in ("mean", "std")}}
