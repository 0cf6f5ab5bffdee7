"""Any file of weights as a `Checkpoint`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
from timm.models import clean_state_dict
from torch import Tensor

from rednet.errors import InputError
from rednet.models.registry import default_cfgs
from rednet.models.weights.checkpoint import OURS, Checkpoint
from rednet.models.weights.files import read_content
from rednet.models.weights.naming import from_paddle, is_rednet, strip_prefixes
from rednet.models.weights.recognition import count_classes, recognise

WEIGHTS = ("state_dict_ema", "model_ema", "state_dict", "model")
SOURCES = ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir")


def read_checkpoint(path: str | Path, key: str = "checkpoint") -> Checkpoint:
    """Reads weights of any kind, recognising it by what the file holds and running no code from it.

    Ours, the original's (OpenMMLab), PaddleClas's and ppim's, timm's, bare state dicts, and
    safetensors: see `Checkpoint.kind`.

    Args:
        path: The file.
        key: Of the configuration that names it, for error messages.

    Raises:
        InputError: The file is missing, damaged, not safe to load, or holds no weights.
    """
    path = Path(path)
    file_format, content = read_content(path, f"{key}={path}")
    found = _find_weights(file_format, content)
    if found is None:
        raise InputError(f"{key}={path}: holds no state dict")
    if found is content or file_format == "pickle":
        content = {"state_dict": found}
    weights: dict[str, Tensor] = clean_state_dict(found)
    kind = _find_kind(file_format, content, weights)
    stripped, left_out = strip_prefixes(weights)
    if not is_rednet(stripped):
        stripped, left_out = weights, ()
    model, is_recognised = _find_model(kind, content, stripped)
    return Checkpoint(
        path=path,
        kind=kind,
        content=content,
        state_dict=stripped,
        model=model,
        is_recognised=is_recognised,
        left_out=left_out,
        key=key,
        **_describe_data(kind, content, stripped),
    )


def _find_weights(file_format: str, content: Any) -> dict[str, Tensor] | None:
    if not isinstance(content, dict):
        return None
    if file_format == "pickle":
        return from_paddle(content)
    if _is_state_dict(content):
        return content
    found = next((content[name] for name in WEIGHTS if content.get(name) is not None), None)
    return found if _is_state_dict(found) else None


def _is_state_dict(value: Any) -> bool:
    is_filled = isinstance(value, dict) and bool(value)
    return is_filled and all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in value.items()
    )


def _find_kind(file_format: str, content: Mapping[str, Any], weights: Mapping[str, Any]) -> str:
    if file_format == "safetensors":
        return "rednet-safetensors" if "format" in content else "safetensors"
    if file_format == "pickle":
        return "paddle"
    model = content.get("model")
    if (
        isinstance(model, dict)
        and model.keys() == {"name", "options"}
        and isinstance(model["options"], dict)
    ):
        return "rednet"
    if isinstance(content.get("arch"), str):
        return "timm"
    has_prefix = any(name.startswith("backbone.") for name in weights)
    return "openmmlab" if has_prefix or "meta" in content else "state-dict"


def _find_model(
    kind: str, content: Mapping[str, Any], weights: Mapping[str, Tensor]
) -> tuple[dict[str, Any] | None, bool]:
    """Name and options of the network, if they can be known, and whether the tensors tell them."""
    if kind in OURS and "model" in content:
        return _network(content["model"]["name"], content["model"]["options"]), False
    recognised = recognise(weights)
    if kind == "timm":
        options = getattr(content.get("args"), "model_kwargs", None)
        options = options if isinstance(options, dict) else {}
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


def _describe_data(
    kind: str, content: Mapping[str, Any], weights: Mapping[str, Tensor]
) -> dict[str, Any]:
    """The fields of a `Checkpoint` about pictures and classes."""
    num_classes = in_chans = preprocessing = names = None
    if kind in OURS:
        preprocessing, names = content.get("preprocessing"), content.get("class_names")
        num_classes = None if names is None else len(names)
        in_chans = len(preprocessing["mean"]) if preprocessing else None
    if is_rednet(weights):
        num_classes, in_chans = count_classes(weights), weights["stem.0.conv.weight"].shape[1]
        if kind not in OURS and (num_classes, in_chans) == (1000, 3):
            preprocessing = imagenet_preprocessing()
    return {
        "num_classes": num_classes,
        "in_chans": in_chans,
        "preprocessing": preprocessing and _with_tuples(preprocessing),
        "class_names": names,
    }


def imagenet_preprocessing() -> dict[str, Any]:
    """How the original prepares pictures, by the names of `rednet.data.Preprocessing`."""
    cfg = default_cfgs["rednet50"].default
    names = ("crop_pct", "interpolation", "mean", "std")
    return {"image_size": cfg.input_size[1], **{name: getattr(cfg, name) for name in names}}


def _with_tuples(preprocessing: Mapping[str, Any]) -> dict[str, Any]:
    return {**preprocessing, **{name: tuple(preprocessing[name]) for name in ("mean", "std")}}
