"""Check the description in a checkpoint of ours, which may come from anybody."""

import json
import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationError,
)

from rednet.data.transforms import INTERPOLATIONS
from rednet.errors import InputError
from rednet.weights.messages import printable
from rednet.weights.preprocessing import is_preprocessing
from rednet.weights.run_config import read_run_config

MAX_NAME = 1000
"""Characters in the name of a network or class."""


def _require_json(value: Any) -> Any:
    try:
        json.dumps(value)
    except TypeError as error:
        raise ValueError("not only plain values") from error
    return value


def _require_preprocessing(value: dict[str, Any]) -> dict[str, Any]:
    if not is_preprocessing(value) or value["interpolation"] not in INTERPOLATIONS:
        raise ValueError("no preparation of images")
    return value


def _require_config(text: str) -> str:
    read_run_config(text)
    return text


def _require_number(value: Any) -> Any:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError("no finite number")
    return value


class _Checked(BaseModel):
    """A group of values of which some are known."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False, protected_namespaces=())


Name = Annotated[StrictStr, Field(max_length=MAX_NAME)]
Options = Annotated[dict[StrictStr, Any], AfterValidator(_require_json)]
Count = Annotated[StrictInt, Field(ge=1)]
Number = Annotated[Any, AfterValidator(_require_number)]
"""A finite number; pydantic's own types accept what converts to one, such as a tensor."""


class _Network(_Checked):
    model_config = ConfigDict(extra="forbid")

    name: Name
    options: Options


class _Split(_Checked):
    fingerprint: Name
    samples: Annotated[StrictInt, Field(ge=0)]


class _Data(_Checked):
    name: Name
    train: _Split | None
    val: _Split | None
    sample: dict[StrictStr, StrictStr] = Field(default_factory=dict)


class Description(_Checked):
    """What a checkpoint of ours says about its network, images, classes and run."""

    model: _Network | None = None
    is_recognised: StrictBool | None = None
    is_averaged: StrictBool | None = None
    preprocessing: Annotated[dict[str, Any], AfterValidator(_require_preprocessing)] | None = None
    class_names: list[Name] | None = None
    config: Annotated[StrictStr, AfterValidator(_require_config)] | None = None
    data: _Data | None = None
    metrics: dict[StrictStr, Number | None] | None = None
    versions: dict[StrictStr, StrictStr] | None = None
    global_batch: Count | None = None
    world_size: Count | None = None


def check_description(content: Mapping[str, Any]) -> None:
    """Check the description in a checkpoint of ours.

    Raises:
        InputError: A value has the wrong type or range.
    """
    known = {key: content[key] for key in Description.model_fields if key in content}
    require_valid(Description, known)


def require_valid(model: type[BaseModel], values: Mapping[str, Any]) -> None:
    """Check values by a model of pydantic.

    Raises:
        InputError: One of them is wrong; the message names it.
    """
    try:
        model.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        reason = first["msg"].removeprefix("Value error, ")
        raise InputError(f"damaged: its {printable(place)}: {printable(reason)}") from error


def is_str(value: object) -> bool:
    """Whether a value is text."""
    return isinstance(value, str)


def is_options(value: object) -> bool:
    """Whether a value is a dict of keyword arguments that JSON can hold."""
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return isinstance(value, dict) and all(map(is_str, value))
