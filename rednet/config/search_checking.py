"""Check the space of a search: every key, and values of each, before anything runs."""

import copy
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from omegaconf import OmegaConf

from rednet.config.checking import find_problems, legal_keys
from rednet.config.effects import idle_keys
from rednet.config.problems import ConfigError, unknown_choice, unknown_key
from rednet.config.search import PREFIX, read_space
from rednet.search.space import Axis, Choice, Interval, to_text

NOT_SEARCHED = ("output_dir", "resume", "search", "experiment")


def search_problems(
    config: Mapping[str, Any],
    schema: type,
    explicit_keys: Collection[str],
    choices: Callable[[str], Sequence[str]],
) -> list[str]:
    """Return one line for each mistake in the search of a configuration.

    Args:
        config: Configuration of plain dicts, lists and values.
        schema: Schema of the command.
        explicit_keys: Dotted keys that the command line sets.
        choices: Returns the choices of a group, none for other keys.
    """
    if find_problems(config, schema):
        return []  # which are reported anyway
    try:
        space = read_space(config["search"]["space"])
    except ConfigError as error:
        return error.problems
    legal = legal_keys(schema)
    return [
        f"{PREFIX}{line}" if line.startswith(key) else f"{PREFIX}{key}: {line}"
        for key, axis in space.items()
        for line in _axis_problems(key, axis, config, schema, explicit_keys, legal, choices(key))
    ]


def _axis_problems(
    key: str,
    axis: Axis,
    config: Mapping[str, Any],
    schema: type,
    explicit_keys: Collection[str],
    legal: Mapping[str, bool],
    choices: Sequence[str],
) -> Iterator[str]:
    """Yield a line for each mistake in what the space says about a key."""
    if key.partition(".")[0] in NOT_SEARCHED:
        yield f"{key}: cannot be searched"
    elif key in explicit_keys:
        yield f"{key}: is also given on the command line; leave one out"
    elif choices:
        options = axis.options if isinstance(axis, Choice) else [str(axis)]
        yield from (unknown_choice(key, name, choices) for name in options if name not in choices)
    elif key not in legal and not key.startswith("model.options."):
        yield unknown_key(key, legal)
    else:
        yield from _value_problems(key, axis, config, schema)


def _value_problems(key: str, axis: Axis, config: Mapping[str, Any], schema: type) -> Iterator[str]:
    """Yield a line for each value that a key cannot have, and one if none has an effect."""
    idle: list[str | None] = []
    for value in axis.examples:
        changed = _with_value(config, key, to_text(value))
        yield from (line + _hint(axis, line) for line in find_problems(changed, schema))
        idle.append(idle_keys("train", changed, [key]).get(key))
    if all(idle):
        yield str(idle[0])


def _hint(axis: Axis, line: str) -> str:
    is_float = isinstance(axis, Interval) and isinstance(axis.low, float)
    return "; int(interval(...)) has whole numbers" if is_float and "whole number" in line else ""


def _with_value(config: Mapping[str, Any], key: str, text: str) -> dict[str, Any]:
    """Return a copy of a configuration with another value, read from text."""
    changed = copy.deepcopy(dict(config))
    *groups, name = key.split(".")
    group: Any = changed
    for each in groups:
        if not isinstance(group.get(each), dict):
            group[each] = {}
        group = group[each]
    group[name] = OmegaConf.to_container(OmegaConf.from_dotlist([f"x={text}"]))["x"]  # type: ignore
    return changed
