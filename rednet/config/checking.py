"""Check a composed configuration against the schema of its command."""

import dataclasses
import functools
import typing
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf._utils import get_omega_conf_dumper
from pydantic import TypeAdapter

from rednet.config.groups import RedNetOptions
from rednet.config.problems import (
    RENAMED_KEYS,
    ConfigError,
    missing_keys,
    missing_value,
    schema_problems,
    unknown_key,
    unused_key,
    without_missing,
)
from rednet.config.schema import SCHEMAS, Config


def validate(plain: Mapping[str, Any], schema: type = Config) -> Any:
    """Check a configuration of plain dicts, lists and values; return it as an instance of `schema`.

    Raises:
        ConfigError: A key is unknown, or a value is missing or wrong; one line for each.
    """
    problems = find_problems(plain, schema)
    if problems:
        raise ConfigError(problems)
    return TypeAdapter(schema).validate_python(plain)


def find_problems(
    plain: Mapping[str, Any], schema: type = Config, *, allow_missing: bool = False
) -> list[str]:
    """Return one line for each mistake in a configuration.

    Args:
        plain: Configuration of plain dicts, lists and values.
        schema: Schema that it must match.
        allow_missing: Whether to accept values that the user has yet to give (``???``).
    """
    lines = [] if allow_missing else [missing_value(key) for key in missing_keys(plain)]
    given, legal = without_missing(plain), legal_keys(schema)
    lines += schema_problems(schema, given, legal, allow_missing=allow_missing)
    model = given.get("model")
    if isinstance(model, Mapping) and isinstance(model.get("options"), Mapping):
        lines += _option_problems(str(model.get("name")), model["options"], legal)
    return list(dict.fromkeys(lines))


@functools.cache
def legal_keys(schema: type = Config) -> dict[str, bool]:
    """Return the dotted keys of a command's configuration, and whether each may be null."""
    keys = dict(_keys(schema, ""))
    if "model" in keys:
        keys |= _keys(RedNetOptions, "model.options.")
    if schema is Config:
        keys["experiment"] = True  # a group without a key in the composed configuration
    return keys


def misplaced_keys(keys: Iterable[str], schema: type, unused: Collection[str]) -> list[str]:
    """Return one line for each key that was renamed or that a command does not use.

    Args:
        keys: Dotted keys.
        schema: Schema of the command.
        unused: Dotted keys of the schema that have no effect on the command.
    """
    legal = legal_keys(schema)
    elsewhere = {key for other in SCHEMAS.values() for key in legal_keys(other)} - legal.keys()
    lines = []
    for key in keys:
        if key in RENAMED_KEYS:
            lines.append(unknown_key(key, legal))
        elif key in unused or key in elsewhere:
            is_group = any(other.startswith(f"{key}.") for other in elsewhere)
            lines.append(unused_key(key, legal, suggest=key in elsewhere and not is_group))
    return lines


def to_yaml(config: Any) -> str:
    """Return the configuration as printable YAML; `validate` accepts it once it is loaded."""
    values = OmegaConf.create(dataclasses.asdict(config))
    text = OmegaConf.to_yaml(values)
    if all(line.isprintable() for line in text.split("\n")):
        return text
    # A terminal that shows the file must not obey the names in it. OmegaConf's own dumper quotes
    # texts that look like numbers.
    plain, dumper = OmegaConf.to_container(values), get_omega_conf_dumper()
    return str(yaml.dump(plain, Dumper=dumper, allow_unicode=False, sort_keys=False))


def _option_problems(name: str, options: Mapping[str, Any], legal: Mapping[str, bool]) -> list[str]:
    fixed = [key for key in ("num_classes", "in_chans") if key in options]
    lines = [f"model.options.{key}: follows the data, leave it out" for key in fixed]
    if name.startswith("rednet"):
        rest = {key: value for key, value in options.items() if key not in fixed}
        lines += schema_problems(RedNetOptions, rest, legal, ("model", "options"))
    return lines


def _keys(schema: type, prefix: str) -> Iterator[tuple[str, bool]]:
    for name, hint in typing.get_type_hints(schema).items():
        types = typing.get_args(hint) or (hint,)
        yield prefix + name, type(None) in types
        for group in filter(dataclasses.is_dataclass, types):
            yield from _keys(typing.cast(type, group), f"{prefix}{name}.")
