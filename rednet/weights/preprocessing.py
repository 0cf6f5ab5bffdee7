"""How a file's images are prepared, as far as the program that wrote it has said."""

import argparse
import math
from collections.abc import Mapping
from typing import Any

import timm
from timm.data import resolve_data_config
from timm.models import get_pretrained_cfg

from rednet.models.variants import PRETRAINED_CFG

MAX_IMAGE_SIZE = 8192
MAX_CHANNELS = 64
CFG_NAMES = ("crop_pct", "interpolation", "mean", "std")


def preprocessing_of_others(
    kind: str, content: Mapping[str, Any], in_chans: int | None
) -> dict[str, Any] | None:
    """Return the image preparation in the arguments that another program has saved.

    Args:
        kind: Kind of the file, see `rednet.weights.Checkpoint`.
        content: Content of the file.
        in_chans: Image channels of a RedNet, None for another network.

    Returns:
        Values by the names of `rednet.data.Preprocessing`, None if nothing is said.
    """
    args = content.get("args")
    if kind == "timm" and isinstance(args, argparse.Namespace):
        cfg = _pretrained_cfg(content["arch"]) if in_chans is None else PRETRAINED_CFG
        return preprocessing_of_cfg(args, cfg, in_chans)
    if kind == "timm":  # PyTorch's example for ImageNet saves "arch", too
        is_original = "best_acc1" in content or in_chans == len(PRETRAINED_CFG["mean"])
        return imagenet_preprocessing() if is_original else None
    if kind == "state-dict" and isinstance(args, argparse.Namespace):
        return _preprocessing_of_torchvision(args)
    return None


def imagenet_preprocessing() -> dict[str, Any]:
    """Return the original's image preparation, by the names of `rednet.data.Preprocessing`."""
    preprocessing = preprocessing_of_cfg(argparse.Namespace(), PRETRAINED_CFG, None)
    assert preprocessing is not None
    return preprocessing


def preprocessing_of_cfg(
    args: argparse.Namespace, cfg: Mapping[str, Any], in_chans: int | None
) -> dict[str, Any] | None:
    """Return a network's image preparation with the changes of timm's command-line arguments.

    Args:
        args: The arguments.
        cfg: timm's `pretrained_cfg` of the network.
        in_chans: Image channels of the network; None for those of `cfg`.

    Returns:
        Values by the names of `rednet.data.Preprocessing`; None if images are not square, or have
        other channels than the network.
    """
    try:
        config = resolve_data_config(vars(args), cfg)
    except (AssertionError, TypeError):  # of values that timm's own program would not accept
        return None
    _, height, width = config["input_size"]
    preprocessing = {"image_size": height, **{name: config[name] for name in CFG_NAMES}}
    fits = in_chans in (None, len(config["mean"]))
    return preprocessing if height == width and fits and is_preprocessing(preprocessing) else None


def _preprocessing_of_torchvision(args: argparse.Namespace) -> dict[str, Any] | None:
    """Return the image preparation in the arguments of torchvision's reference training."""
    given = vars(args)
    size, resized = given.get("val_crop_size"), given.get("val_resize_size")
    if not isinstance(size, int) or not isinstance(resized, int) or not 0 < size <= resized:
        return None
    changes = {"image_size": size, "crop_pct": size / resized}
    interpolation = given.get("interpolation", "bilinear")
    preprocessing = {**imagenet_preprocessing(), **changes, "interpolation": interpolation}
    return preprocessing if is_preprocessing(preprocessing) else None


def _pretrained_cfg(arch: str) -> dict[str, Any]:
    cfg = get_pretrained_cfg(arch) if timm.is_model(arch) else None
    return cfg.to_dict() if cfg else {}


def is_preprocessing(value: Any) -> bool:
    """Whether a value has the names, types and ranges of `rednet.data.Preprocessing`."""
    if not isinstance(value, dict) or value.keys() != {"image_size", *CFG_NAMES}:
        return False
    mean, std = value["mean"], value["std"]
    if not isinstance(mean, list | tuple) or not isinstance(std, list | tuple):
        return False
    return (
        isinstance(value["image_size"], int)
        and 1 <= value["image_size"] <= MAX_IMAGE_SIZE
        and isinstance(value["interpolation"], str)
        and all(map(_is_number, (value["crop_pct"], *mean, *std)))
        and 0 < value["crop_pct"] <= 1
        and len(mean) == len(std) <= MAX_CHANNELS
        and all(deviation > 0 for deviation in std)
    )


def _is_number(value: Any) -> bool:
    is_real = isinstance(value, int | float) and not isinstance(value, bool)
    return is_real and math.isfinite(value)
