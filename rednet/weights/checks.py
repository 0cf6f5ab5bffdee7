"""Check the description in a checkpoint of ours, which may come from anybody."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from rednet.weights.preprocessing import is_preprocessing


def check_description(content: Mapping[str, Any]) -> None:
    """Check the description in a checkpoint of ours.

    Raises:
        ValueError: A value has the wrong type.
    """
    for name, is_valid in CHECKS.items():
        value = content.get(name)
        if value is not None and not is_valid(value):
            raise ValueError(f"wrong type of {name}")


def is_str(value: object) -> bool:
    """Whether a value is text."""
    return isinstance(value, str)


def _is_json(value: object) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


def is_options(value: object) -> bool:
    """Whether a value is a dict of keyword arguments that JSON can hold."""
    return isinstance(value, dict) and all(map(is_str, value)) and _is_json(value)


def _is_network(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"name", "options"}
        and is_str(value["name"])
        and is_options(value["options"])
    )


def _is_data(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() >= {"name", "train", "val"}
        and is_str(value["name"])
        and all(map(_is_half, (value["train"], value["val"])))
        and is_options(value.get("sample", {}))
    )


def _is_half(value: object) -> bool:
    return value is None or (
        isinstance(value, dict)
        and value.keys() >= {"fingerprint", "samples"}
        and is_str(value["fingerprint"])
        and isinstance(value["samples"], int)
    )


def _is_class_names(value: object) -> bool:
    return isinstance(value, list) and all(map(is_str, value))


CHECKS: dict[str, Callable[[Any], bool]] = {
    "model": _is_network,
    "is_recognised": lambda value: isinstance(value, bool),
    "is_averaged": lambda value: isinstance(value, bool),
    "preprocessing": is_preprocessing,
    "class_names": _is_class_names,
    "config": is_str,
    "data": _is_data,
    "metrics": _is_json,
    "versions": _is_json,
}
