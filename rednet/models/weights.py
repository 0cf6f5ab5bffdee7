"""Weights from a file into a network, and everything that can be wrong with that."""

import pickle
import struct
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from timm.models import clean_state_dict
from torch import Tensor, nn

from rednet.errors import InputError
from rednet.models.rednet import RedNet
from rednet.models.registry import checkpoint_filter_fn

NAMED_AT_MOST = 4
DAMAGE = (RuntimeError, EOFError, OSError, ValueError, LookupError, struct.error, SafetensorError)


@dataclass(frozen=True)
class Checkpoint:
    """A file of weights.

    Attributes:
        path: Where it lies.
        content: All of it; a bare state dict under the key "state_dict".
    """

    path: Path
    content: dict[str, Any]

    @property
    def model(self) -> dict[str, Any] | None:
        """Name and options of the network, where the file says so."""
        model = self.content.get("model")
        return model if isinstance(model, dict) and model.keys() == {"name", "options"} else None

    @property
    def preprocessing(self) -> dict[str, Any] | None:
        """What is done to every picture before the network, where the file says so."""
        return self.content.get("preprocessing")

    @property
    def class_names(self) -> list[str] | None:
        """The classes in their order, where the file says so."""
        return self.content.get("class_names")

    @property
    def state_dict(self) -> dict[str, Tensor]:
        """The weights to use: the averaged ones where there are some."""
        return self.content.get("state_dict_ema") or self.content["state_dict"]


def read_checkpoint(path: str | Path, key: str = "checkpoint") -> Checkpoint:
    """Reads a checkpoint of ours or a bare state dict, running no code from it.

    Args:
        path: The file.
        key: Of the configuration that names it, for error messages.

    Raises:
        InputError: The file is missing, damaged, not safe to load, or holds no weights.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{key}={path}: no such file")
    damaged = InputError(f"{key}={path}: damaged or cut short, or no checkpoint at all")
    try:
        content = _load(path)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{key}={path}: cannot be loaded safely (it holds more than tensors and plain "
            "values, or is no checkpoint); save its state dict alone with torch.save"
        ) from error
    except DAMAGE as error:
        raise damaged from error
    if isinstance(content, dict) and "format" in content and not _is_sound(path):
        raise damaged
    content = _with_state_dict(content)
    if content is None:
        raise InputError(f"{key}={path}: holds no state dict")
    return Checkpoint(path, content)


def _load(path: Path) -> Any:
    with warnings.catch_warnings(action="ignore"):  # torch warns of pickles that it then refuses
        return torch.load(path, map_location="cpu", weights_only=True)


def _is_sound(path: Path) -> bool:
    """Whether the check sums of a zip file are right, which torch does not look at."""
    if not zipfile.is_zipfile(path):
        return True
    with zipfile.ZipFile(path) as file:
        return file.testzip() is None


def _with_state_dict(content: Any) -> dict[str, Any] | None:
    if not isinstance(content, dict):
        return None
    if _is_state_dict(content.get("state_dict")):
        averaged = content.get("state_dict_ema")
        return content if averaged is None or _is_state_dict(averaged) else None
    return {"state_dict": content} if _is_state_dict(content) else None


def _is_state_dict(value: Any) -> bool:
    is_filled = isinstance(value, dict) and bool(value)
    return is_filled and all(isinstance(tensor, Tensor) for tensor in value.values())


def load_weights(model: nn.Module, checkpoint: Checkpoint, *, new_head: bool = False) -> str | None:
    """Loads a checkpoint's weights into a network.

    Args:
        model: A timm model; RedNet takes the original's prefixed keys too.
        checkpoint: As read.
        new_head: Whether a classifier of another number of classes is left as it is; otherwise it
            is an error.

    Returns:
        A line that says so if the classifier was left as it is.

    Raises:
        InputError: The weights are another network's; some of the keys that do not fit are named.
    """
    weights = clean_state_dict(checkpoint.state_dict)
    if isinstance(model, RedNet):
        weights = checkpoint_filter_fn(weights, model)
    own = model.state_dict()
    note = None
    head = _other_head(model, weights)
    if head:
        note = (
            f"checkpoint={checkpoint.path}: its classifier has {len(weights[head[0]])} classes, "
            f"the data {len(own[head[0]])}"
        )
        if not new_head:
            raise InputError(f"{note}: evaluate it on data with its own classes")
        note += ": the classifier starts anew"
        weights = {**weights, **{key: own[key] for key in head}}
    problems = _mismatches(weights, own)
    if problems:
        raise InputError(f"checkpoint={checkpoint.path}: not of this network: {problems}")
    model.load_state_dict(weights)
    return note


def _other_head(model: nn.Module, weights: dict[str, Tensor]) -> list[str]:
    """Keys of the classifier if it differs from the weights' in the number of classes alone."""
    names = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
    names = (names,) if isinstance(names, str) else names
    own = model.state_dict()
    keys = [key for key in own if key.rpartition(".")[0] in names and key in weights]
    same = all(weights[key].shape[1:] == own[key].shape[1:] for key in keys)
    differs = any(weights[key].shape != own[key].shape for key in keys)
    return keys if same and differs else []


def _mismatches(weights: dict[str, Tensor], own: dict[str, Tensor]) -> str:
    shapes = [
        f"{key} {tuple(weights[key].shape)} for {tuple(own[key].shape)}"
        for key in own.keys() & weights.keys()
        if weights[key].shape != own[key].shape
    ]
    kinds = {
        "missing": sorted(own.keys() - weights.keys()),
        "unexpected": sorted(weights.keys() - own.keys()),
        "misshapen": sorted(shapes),
    }
    return "; ".join(f"{len(keys)} {kind} ({_some(keys)})" for kind, keys in kinds.items() if keys)


def _some(keys: list[str]) -> str:
    more = len(keys) - NAMED_AT_MOST
    return ", ".join(keys[:NAMED_AT_MOST]) + (f", and {more} more" if more > 0 else "")
