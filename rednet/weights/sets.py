"""Find the sets of weights in a file, and choose one.

A training program may write the weights of a step and their average over the steps. The average is
chosen if it is complete; of several sets without one, the first in `PLAIN`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from rednet.errors import InputError
from rednet.weights.messages import list_some
from rednet.weights.prefixes import sounds_averaged, without_counters

PLAIN = (
    *("state_dict", "model", "model_state_dict", "model_state", "net", "net_state_dict"),
    *("network", "module", "weights", "params"),
)
"""Names of weights that are no average, the most common first."""
OUR_AVERAGE = "state_dict_ema"
"""Where this project and timm keep averaged weights, and nothing else."""
SWAPPED = "ema_state_dict"
"""Where mmengine keeps the weights of the step: its hook swaps them with "state_dict"."""


@dataclass(frozen=True)
class WeightSet:
    """A set of weights in a file.

    Attributes:
        key: Keys that lead to it, joined by dots; empty if the file is a bare state dict.
        weights: The tensors by the names they have in the file.
        is_averaged: Whether they are averages over training steps.
        others: Keys of the sets that were not chosen.
    """

    key: str
    weights: dict[str, Tensor]
    is_averaged: bool = False
    others: tuple[str, ...] = ()


def choose_set(content: Mapping[str, Any]) -> WeightSet | None:
    """Return the weights to use of all those in a file, None if there are none.

    Raises:
        InputError: There are several sets, and nothing says which to use.
    """
    if is_state_dict(content):
        return WeightSet("", dict(content))
    found = dict(find_sets(content))
    if not found or (content.get(OUR_AVERAGE) and OUR_AVERAGE not in found):
        return None
    key, is_averaged = _choose_key(found, content)
    others = tuple(other for other in found if other != key)
    return WeightSet(key, found[key], is_averaged, others)


def is_state_dict(value: Any) -> bool:
    """Whether a value is a non-empty dict of tensors by name."""
    is_filled = isinstance(value, dict) and bool(value)
    return is_filled and all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in value.items()
    )


def find_sets(content: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield the sets of a file with their keys; those that sound like weights may be deeper."""
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, dict):
            continue
        if _holds_weights(value):
            yield key, value
        elif key in PLAIN or sounds_averaged(key):
            for inner, inner_value in value.items():
                if isinstance(inner, str) and _holds_weights(inner_value):
                    yield f"{key}.{inner}", inner_value


def _holds_weights(value: Any) -> bool:
    """Whether a value is a state dict with any parameter: states of generators have none."""
    return is_state_dict(value) and any(tensor.is_floating_point() for tensor in value.values())


def _choose_key(
    found: Mapping[str, dict[str, Tensor]], content: Mapping[str, Any]
) -> tuple[str, bool]:
    """Return the key of the set to use, and whether it is an average."""
    if _is_swapped(content) and {"state_dict", SWAPPED} <= found.keys():
        return "state_dict", True
    averaged = [key for key in found if sounds_averaged(key)]
    best = min((_rank(key) for key in found if key not in averaged), default=None)
    plain = [key for key in found if key not in averaged and _rank(key) == best]
    size = max((len(without_counters(found[key])) for key in plain), default=0)
    usable = [key for key in averaged if not plain or _is_complete(found[key], size)]
    choices = usable or plain
    if len(choices) > 1:
        raise InputError(
            f"contains several sets of weights ({list_some(choices)}): save the one to use with "
            "torch.save"
        )
    return choices[0], bool(usable)


def _rank(key: str) -> int:
    first = key.partition(".")[0]
    return PLAIN.index(first) if first in PLAIN else len(PLAIN)


def _is_complete(averaged: Mapping[str, Tensor], size: int) -> bool:
    """Whether an average has all tensors, and has been updated: torchvision counts the updates."""
    updates = averaged.get("n_averaged")
    was_updated = updates is None or bool(updates.any())
    return was_updated and len(without_counters(averaged)) >= size


def _is_swapped(content: Mapping[str, Any]) -> bool:
    meta = content.get("meta")
    return isinstance(meta, dict) and "mmengine_version" in meta


def is_average(weights: Mapping[str, Tensor], prefix: str) -> bool:
    """Whether the names of weights, or their prefix, are those of an average.

    That of `torch.optim.swa_utils` counts its updates, mmcv's EMAHook stores each weight twice.
    """
    copies = (f"ema_{name.replace('.', '_')}" for name in weights)
    return "n_averaged" in weights or sounds_averaged(prefix) or any(n in weights for n in copies)
