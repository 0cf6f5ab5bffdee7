"""Messages about mistakes in a configuration, one readable line each."""

import difflib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from omegaconf import MISSING
from pydantic import TypeAdapter, ValidationError

from rednet.config.text_values import text_hint
from rednet.errors import InputError

_EXPECTED = {
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "string_too_short": "must not be empty",
    "string_unicode": "must be UTF-8",
    "list_type": "must be a list, e.g. [1,2]",
    "dict_type": "must be a group of keys",
    "dataclass_type": "must be a group of keys",
    "greater_than": "must be greater than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "too_short": "must have {min_length} or more entries",
}

RENAMED_KEYS = {
    "optimizer.reference_batch": "optimizer.lr_base_size",
    "trainer.accumulate": "trainer.grad_accum_steps",
    "trainer.checkpoint_activations": "trainer.grad_checkpointing",
    "trainer.max_updates": "trainer.max_steps",
    "updates_per_epoch": "steps_per_epoch",
}
RENAMED_VALUES = {("schedule.step_on", "update"): "step"}


class ConfigError(InputError):
    """A configuration has one or more mistakes.

    Attributes:
        problems: One line for each mistake.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(dict.fromkeys(problems))
        super().__init__(*self.problems)


def nearest(word: str, legal: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the legal word most similar to `word`, or None if none is similar."""
    matches = difflib.get_close_matches(word, list(legal), n=1, cutoff=cutoff)
    return matches[0] if matches else None


def nearest_key(key: str, legal: set[str]) -> str | None:
    """Return a similar name in the same group, else a similar key, else one in another group."""
    group, _, name = key.rpartition(".")
    siblings = _members(group, legal)
    names = {other.rpartition(".")[2] for other in legal}
    is_elsewhere = nearest(name, names, cutoff=0.9) and not nearest(name, siblings, cutoff=0.8)
    if not is_elsewhere and (near := nearest(name, siblings)):
        return f"{group}.{near}".removeprefix(".")
    if not siblings and (near := nearest(key, legal, cutoff=0.8)):
        return near
    similar = nearest(name, names, cutoff=0.8)
    elsewhere = [other for other in legal if other.rpartition(".")[2] == similar]
    return nearest(key, elsewhere, cutoff=0)


def leaves(key: str, value: Any) -> list[str]:
    """Return the dotted keys of all values in `value`, whose own key is `key`."""
    if not isinstance(value, Mapping) or not value:
        return [key]
    return [leaf for name, item in value.items() for leaf in leaves(f"{key}.{name}", item)]


def unknown_key(key: str, legal: Collection[str]) -> str:
    """Return the line about a dotted key that does not exist."""
    if key in RENAMED_KEYS:
        return f"unknown key '{key}': it was renamed to '{RENAMED_KEYS[key]}'"
    near = nearest_key(key, set(legal))
    if near:
        return f"unknown key '{key}': did you mean '{near}'?"
    group = key.rpartition(".")[0]
    siblings = _members(group, legal)
    while group and not siblings:
        group = group.rpartition(".")[0]
        siblings = _members(group, legal)
    where = f"the keys of {group} are" if group else "the keys are"
    return f"unknown key '{key}': {where} {', '.join(sorted(siblings))}"


def unused_key(key: str, legal: Collection[str], *, suggest: bool) -> str:
    """Return the line about a dotted key that has no effect on a command.

    Args:
        key: The key.
        legal: Keys of the command.
        suggest: Whether to name a similar key; the name of a key in a group is not compared with
            other groups, since ``optimizer.name`` has nothing to do with ``model.name``.
    """
    near = None
    if suggest:
        near = nearest(key, legal, cutoff=0.8) if "." in key else nearest_key(key, set(legal))
    guess = f"; did you mean '{near}'?" if near else ""
    return f"{key}: this command does not use it{guess}"


def unknown_choice(group: str, name: str, choices: Sequence[str]) -> str:
    """Return the line about a choice that a group does not have."""
    near = nearest(name, choices)
    guess = f"did you mean '{near}'? " if near else ""
    return (
        f"unknown choice '{group}={name}': {guess}the choices of {group} are {', '.join(choices)}"
    )


def schema_problems(
    schema: type,
    plain: Any,
    legal: Mapping[str, bool],
    location: tuple[str, ...] = (),
    *,
    allow_missing: bool = False,
) -> list[str]:
    """Return one line for each mismatch between a configuration and a schema.

    Args:
        schema: A pydantic dataclass.
        plain: Configuration of plain dicts, lists and values.
        legal: Every legal dotted key, and whether its value may be null.
        location: Names of the groups that contain `plain`, outermost first.
        allow_missing: Whether to accept absent values.
    """
    try:
        TypeAdapter(schema).validate_python(plain)
    except ValidationError as error:
        found = error.errors(include_url=False)
    else:
        return []
    return [
        line
        for item in found
        if not (allow_missing and item["type"] == "missing")
        for line in _lines({**item, "loc": (*location, *item["loc"])}, legal)
    ]


def missing_keys(plain: Mapping[str, Any]) -> list[str]:
    """Return the dotted keys of the values that the user has yet to give (``???``)."""
    keys = []
    for name, value in plain.items():
        if isinstance(value, Mapping):
            keys += [f"{name}.{key}" for key in missing_keys(value)]
        elif value == MISSING:
            keys.append(str(name))
    return keys


def without_missing(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration without the values that the user has yet to give."""
    return {
        name: without_missing(value) if isinstance(value, Mapping) else value
        for name, value in plain.items()
        if value != MISSING
    }


def missing_value(key: str) -> str:
    """Return the line about a value that only the user can give."""
    return f"{key}: has no value, give one with {key}=..."


def format_value(value: Any) -> str:
    """Return a value as the user writes it, shortened if it is long."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _lines(error: Mapping[str, Any], legal: Mapping[str, bool]) -> list[str]:
    """Return the lines about one of pydantic's errors."""
    key, value = _dotted(error["loc"]), error["input"]
    match error["type"]:
        case "unexpected_keyword_argument":
            return [unknown_key(leaf, legal) for leaf in leaves(key, value)]
        case "missing":
            return [missing_value(key)]
        case "value_error":
            lines = str(error["ctx"]["error"]).splitlines()
            return [_sentence(key, line, value) + text_hint(error) for line in lines]
    expected = _expected(error) + (" or null" if legal.get(key) else "")
    return [
        f"{key or 'the configuration'}: {expected}, got {format_value(value)}{_hint(key, error)}"
    ]


def _sentence(key: str, message: str, value: Any) -> str:
    """Complete the message of one of our validators; that of a group names the key and value."""
    if isinstance(value, Mapping):
        return f"{key}.{message}".removeprefix(".")
    return f"{key}: {message}, got {format_value(value)}"


def _expected(error: Mapping[str, Any]) -> str:
    if error["type"] == "literal_error":
        return f"must be {error['ctx']['expected'].replace(chr(39), '')}"
    template = _EXPECTED.get(error["type"])
    return template.format(**error.get("ctx", {})) if template else error["msg"]


def _hint(key: str, error: Mapping[str, Any]) -> str:
    if error["type"] == "literal_error" and (new := RENAMED_VALUES.get((key, error["input"]))):
        return f", which was renamed to {new}"
    if error["type"] == "literal_error" and key == "data.name":
        return "; data=huggingface data.dataset=NAME reads a data set of that name"
    if error["type"] == "string_type" and isinstance(error["input"], int | float):
        return """ (on the command line: key='"text"')"""
    return text_hint(error)


def _dotted(location: Sequence[str | int]) -> str:
    key = ""
    for part in location:
        key += f"[{part}]" if isinstance(part, int) else f".{part}"
    return key.removeprefix(".")


def _members(group: str, legal: Iterable[str]) -> list[str]:
    return [key.rpartition(".")[2] for key in legal if key.rpartition(".")[0] == group]
