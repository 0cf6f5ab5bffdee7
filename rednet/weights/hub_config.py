"""The `config.json` that timm writes beside the weights, in a folder for the Hub."""

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rednet.data.transforms import INTERPOLATIONS
from rednet.errors import InputError
from rednet.weights.bounds import MAX_HEADER_BYTES
from rednet.weights.preprocessing import preprocessing_of_cfg

CONFIG, WEIGHTS = "config.json", "model.safetensors"
SIZES = ("num_classes", "in_chans")
"""Options of a network that its tensors show."""


def find_weights(path: Path) -> Path:
    """Return the file of weights in a folder for timm, or the path itself."""
    weights = path / WEIGHTS
    return weights if os.path.isfile(weights) else path  # False also for what cannot be read


def read_hub_config(weights: Path) -> dict[str, Any] | None:
    """Read what timm's `config.json` in the folder of a file says.

    Returns:
        What `describe_hub` returns; None if there is no such file, or it is another program's.

    Raises:
        InputError: It is damaged.
    """
    path = weights.with_name(CONFIG)
    if weights.name != WEIGHTS or not path.is_file() or path.stat().st_size > MAX_HEADER_BYTES:
        return None
    try:
        content = json.loads(path.read_bytes())
        is_timms = (
            isinstance(content, dict) and {"architecture", "pretrained_cfg"} <= content.keys()
        )
        return describe_hub(content) if is_timms else None
    except Exception as error:  # it may come from anybody
        raise InputError(f"the {CONFIG} beside it is damaged or not timm's") from error


def describe_hub(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a network, its preprocessing and its class names by our checkpoints' keys.

    Args:
        content: Content of a `config.json` of timm's.
    """
    cfg = content["pretrained_cfg"]
    options = content.get("model_args") or {}
    names = content.get("label_names") or cfg.get("label_names")
    preprocessing = preprocessing_of_cfg(argparse.Namespace(), cfg, None)
    if preprocessing and preprocessing["interpolation"] not in INTERPOLATIONS:
        preprocessing = None
    return {
        "model": {
            "name": content["architecture"],
            "options": {name: value for name, value in options.items() if name not in SIZES},
        },
        "preprocessing": preprocessing,
        "class_names": names if isinstance(names, list) else None,
    }
