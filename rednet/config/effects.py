"""Keys that the rest of a configuration leaves without effect.

A key has an effect if another value of it, with all else equal, could change what a command does.
One that has none is a mistake where the user set it, since the user expects it to do something.
``false`` and ``null`` expect nothing: they are legal anywhere.

The rules are in files by subject. Those that need the data, the network or the device are in
`rednet.build.effects`.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from rednet.config.data_effects import DATA_RULES
from rednet.config.effect_rule import Lookup, Rule
from rednet.config.network_effects import NETWORK_RULES
from rednet.config.training_effects import TRAINING_RULES

RULES = (*TRAINING_RULES, *DATA_RULES, *NETWORK_RULES)
"""All rules; where two are about the same key, the later one has the word."""


def idle_keys(
    command: str, plain: Mapping[str, Any], explicit_keys: Collection[str]
) -> dict[str, str]:
    """Return the explicit keys that have no effect, each with the line about it.

    Args:
        command: Name of the command.
        plain: Configuration of plain dicts, lists and values.
        explicit_keys: Dotted keys that the user set.
    """

    def get(key: str) -> Any:
        value: Any = plain
        for name in key.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        return value

    return {
        key: f"{key}: {reason}"
        for key, reason in without_effect(command, get)
        if key in explicit_keys and expects_something(get(key))
    }


def without_effect(command: str, get: Lookup) -> Iterator[tuple[str, str]]:
    """Yield each key that has no effect in a configuration, with the reason."""
    for rule in _rules_of(command):
        if rule.is_idle(get):
            yield from ((key, rule.reason) for key in rule.keys)


def expects_something(value: Any) -> bool:
    """Return whether a value asks for more than the absence of something."""
    return value is not None and value is not False


def _rules_of(command: str) -> Iterator[Rule]:
    return (rule for rule in RULES if not rule.commands or command in rule.commands)
