"""A hint for values that are text but read like a number, as ``${oc.env:NAME}`` gives them."""

from collections.abc import Mapping
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

_TYPES: dict[str, tuple[type, ...]] = {
    "float_type": (int, float),
    "int_type": (int,),
    "bool_type": (bool,),
    "list_type": (list,),
}
"""The types that are right, as oc.decode returns them, for each of pydantic's errors."""


def text_hint(error: Mapping[str, Any]) -> str:
    """Return the hint for one of pydantic's errors; empty if decoding would not help."""
    value = error["input"]
    if isinstance(value, str) and type(_decode(value)) in _right_types(error):
        return ", which is text; ${oc.decode:${oc.env:NAME}} reads a value from a variable"
    return ""


def _right_types(error: Mapping[str, Any]) -> tuple[type, ...]:
    if error["type"] == "literal_error":  # texts are quoted in its list of values
        return () if "'" in error["ctx"]["expected"] else (int,)
    if error["type"] == "value_error":  # raised by one of our validators
        return (int,) if "whole number" in str(error["ctx"]["error"]) else ()
    return _TYPES.get(error["type"], ())


def _decode(text: str) -> Any:
    """Return what ``${oc.decode:...}`` makes of a text, or the text if that is an error."""
    try:
        return OmegaConf.create({"text": text, "value": "${oc.decode:${.text}}"}).value
    except OmegaConfBaseException:
        return text
