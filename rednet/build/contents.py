"""What a file of weights contains apart from its description: sets of weights, a run's state."""

import argparse
import math
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from rednet.errors import InputError
from rednet.training.checkpoints import upgrade_train_state
from rednet.training.train_state import require_train_state
from rednet.weights import OURS, Checkpoint, find_sets, read_run_config
from rednet.weights.prefixes import sounds_averaged

COUNTERS = ("epoch", "global_step", "optimizer_steps", "step_in_epoch")
"""Parts of a run's state that say how far it has come."""
GROUPS_OF_VALUES = ("meta", "metadata", "args", "hyper_parameters")
"""Keys under which other programs store what they know about a run."""
MAX_TEXT = 200
"""Characters of a text that counts as a value: a configuration has more."""
MAX_NUMBER = 2**63


def list_weights(checkpoint: Checkpoint) -> list[dict[str, Any]]:
    """List the sets of weights in a file: key, size, types, whether it is used and an average."""
    return [_describe_set(checkpoint, *found) for found in find_sets(checkpoint.content)]


def _describe_set(checkpoint: Checkpoint, key: str, weights: dict[str, Tensor]) -> dict[str, Any]:
    is_used = key == (checkpoint.weights_key or "state_dict")
    # mmengine swaps both sets: if the one that is used is an average, the other one is none.
    is_other_average = sounds_averaged(key) and not checkpoint.is_averaged
    return {
        "key": key,
        "tensors": len(weights),
        "numbers": sum(tensor.numel() for tensor in weights.values()),
        "bytes": sum(tensor.nbytes for tensor in weights.values()),
        "dtypes": sorted({_dtype(tensor) for tensor in weights.values()}),
        "used": is_used,
        "averaged": checkpoint.is_averaged if is_used else is_other_average,
    }


def describe_state(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Return what a file has of a training's state; None for weights alone.

    The keys are the counters of a run of ours, "optimizers", and "resumable": whether `train`
    continues from it, else why it does not.
    """
    content = checkpoint.content
    if checkpoint.kind in OURS and isinstance(content.get("train_state"), dict):
        state = upgrade_train_state(content)
        counters = {name: state[name] for name in COUNTERS if isinstance(state.get(name), int)}
        optimizers = [_describe_optimizer("train_state.optimizer", state.get("optimizer"))]
        return {**counters, "optimizers": optimizers, "resumable": _is_resumable(checkpoint)}
    found = [_describe_optimizer(key, value) for key, value in _optimizers(content)]
    return {"optimizers": found, "resumable": "another program's run"} if found else None


def read_config(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Return the configuration of the run in a file of ours, which is checked; None without."""
    text = checkpoint.content.get("config")
    return read_run_config(text) if checkpoint.kind in OURS and text is not None else None


def list_values(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers and short texts in a file, by their keys."""
    groups = {key: _as_dict(content.get(key)) for key in GROUPS_OF_VALUES}
    nested = {f"{key}.{name}": value for key, group in groups.items() for name, value in group}
    found = {str(key): _as_value(value) for key, value in {**content, **nested}.items()}
    return {key: value for key, value in found.items() if value is not None}


def list_keys(checkpoint: Checkpoint) -> dict[str, str]:
    """Return the keys of a file with the kind of what is stored under them; none of tensors."""
    if not checkpoint.weights_key:
        return {}
    return {str(key): _kind(value) for key, value in checkpoint.content.items()}


def as_json(value: Any) -> Any:
    """Return nested values from a file as JSON can hold them; others become text or null."""
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int):  # a longer one could not even be printed
        return value if abs(value) < MAX_NUMBER else None
    return value if value is None or isinstance(value, str) else _kind(value)


def _optimizers(content: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the states of torch's optimizers, alone or in a list, with their keys."""
    for key, value in content.items():
        several = value if isinstance(value, list | tuple) else [value]
        for state in several:
            if isinstance(state, dict) and {"state", "param_groups"} <= state.keys():
                yield str(key), state


def _describe_optimizer(key: str, state: Any) -> dict[str, Any]:
    """Return which averages an optimizer has stored, and of how many parameters."""
    stored = state.get("state") if isinstance(state, dict) else None
    entries = [each for each in _values(stored) if isinstance(each, dict)]
    tensors = [item for each in entries for item in each.values() if isinstance(item, Tensor)]
    return {
        "key": key,
        "state": sorted({str(name) for each in entries for name in each}),
        "parameters": len(entries),
        "bytes": sum(tensor.nbytes for tensor in tensors),
    }


def _is_resumable(checkpoint: Checkpoint) -> bool | str:
    try:
        require_train_state(checkpoint)
    except InputError as error:
        return str(error)
    return True


def _values(stored: Any) -> list[Any]:
    return list(stored.values()) if isinstance(stored, dict) else []


def _as_dict(value: Any) -> list[tuple[str, Any]]:
    value = vars(value) if isinstance(value, argparse.Namespace) else value
    return list(value.items()) if isinstance(value, dict) else []


def _as_value(value: Any) -> int | float | str | None:
    """Return a number or a short text; None for all else, and for infinity and nan."""
    if isinstance(value, Tensor):
        value = value.item() if value.numel() == 1 and value.dtype.is_floating_point else None
    if isinstance(value, str):
        return value if len(value) <= MAX_TEXT else None
    return as_json(value) if isinstance(value, int | float) else None


def _kind(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"tensor {list(value.shape)}"
    if isinstance(value, argparse.Namespace):
        value = vars(value)
    if isinstance(value, dict | list | tuple | set):
        return f"{type(value).__name__} of {len(value)}"
    return type(value).__name__


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
