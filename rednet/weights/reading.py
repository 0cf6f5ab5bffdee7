"""Read any file of weights as a `Checkpoint`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rednet.errors import InputError
from rednet.weights.checkpoint import DESCRIBED, READABLE_FORMATS, Checkpoint
from rednet.weights.checks import check_description
from rednet.weights.description import describe_data, find_model
from rednet.weights.formats import one_line_errors, read_content
from rednet.weights.hub_config import find_weights
from rednet.weights.messages import list_some, printable
from rednet.weights.naming import from_paddle, is_rednet, strip_prefixes
from rednet.weights.prefixes import unwrap
from rednet.weights.sets import WeightSet, choose_set, is_average


def read_checkpoint(path: str | Path, key: str = "checkpoint") -> Checkpoint:
    """Read weights of any kind, detected from the content, without running code from the file.

    Supported are files of ours, the original's (OpenMMLab), PaddleClas's and ppim's, timm's, bare
    state dicts and safetensors: see `Checkpoint.kind`.

    Args:
        path: The file, or a folder with a `model.safetensors` as on the Hugging Face Hub.
        key: Configuration key that named the file, for error messages.

    Raises:
        InputError: The file is missing, damaged, unsafe to load, or contains no weights.
    """
    path = find_weights(Path(path))
    with one_line_errors(f"{key}={path}"):
        return _interpret(path, key, *read_content(path))


def _interpret(path: Path, key: str, file_format: str, content: Any) -> Checkpoint:
    _require_known_format(content)
    chosen = _choose_set(file_format, content)
    if chosen is None:
        keys = f"; its keys are {list_some(content)}" if isinstance(content, dict) else ""
        raise InputError(f"contains no state dict{keys}")
    if not chosen.key:
        content = {"state_dict": chosen.weights}
    _require_dense(chosen.weights)
    kind = _find_kind(file_format, content, chosen.weights)
    if kind in DESCRIBED:
        check_description(content)
    unwrapped = unwrap(chosen.weights)
    stripped, dropped_parts = strip_prefixes(unwrapped.weights)
    if not is_rednet(stripped):
        stripped, dropped_parts = unwrapped.weights, ()
    model, is_inferred = find_model(kind, content, stripped)
    return Checkpoint(
        path=path,
        kind=kind,
        content=content,
        state_dict=stripped,
        model=model,
        is_inferred=is_inferred,
        dropped_parts=tuple(sorted({*unwrapped.dropped, *dropped_parts})),
        is_averaged=chosen.is_averaged
        or is_average(chosen.weights, unwrapped.prefix)
        or (kind == "rednet-safetensors" and bool(content.get("is_averaged"))),
        weights_key=chosen.key,
        other_keys=chosen.others,
        prefix=unwrapped.prefix,
        key=key,
        **describe_data(kind, content, stripped),
    )


def _require_known_format(content: Any) -> None:
    """Refuse files of a later version of this package, whatever else they contain."""
    name = content.get("format") if isinstance(content, dict) else None
    if isinstance(name, str) and name.startswith("rednet") and name not in READABLE_FORMATS:
        raise InputError(f"its format {printable(name)} is newer than this rednet: update rednet")


def _choose_set(file_format: str, content: Any) -> WeightSet | None:
    if not isinstance(content, dict):
        return None
    if file_format == "pickle":
        weights = from_paddle(content)
        return None if weights is None else WeightSet("", weights)
    return choose_set(content)


def _require_dense(weights: Mapping[str, Tensor]) -> None:
    refused = [name for name, tensor in weights.items() if not _is_dense(tensor)]
    if refused:
        raise InputError(f"contains tensors that are not dense or lack data: {list_some(refused)}")


def _is_dense(tensor: Tensor) -> bool:
    """Whether a tensor is strided and the file contains each of its elements separately."""
    return (
        tensor.layout == torch.strided
        and tensor.device.type == "cpu"
        and not tensor.is_nested
        and not tensor.is_quantized
        and tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()
    )


def _find_kind(file_format: str, content: Mapping[str, Any], weights: Mapping[str, Any]) -> str:
    if file_format == "safetensors":
        if "format" in content:
            return "rednet-safetensors"
        return "hub" if "model" in content else "safetensors"
    if file_format == "pickle":
        return "paddle"
    model = content.get("model")
    if isinstance(model, dict) and model.keys() == {"name", "options"}:
        return "rednet"
    if isinstance(content.get("arch"), str):
        return "timm"
    has_prefix = any("backbone" in name.split(".") for name in weights)
    return "openmmlab" if has_prefix or "meta" in content else "state-dict"
