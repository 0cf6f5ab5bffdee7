"""A rule about keys that the rest of a configuration leaves without effect."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Lookup = Callable[[str], Any]
"""Returns the value of a dotted key, None for a key that the configuration lacks."""


@dataclass(frozen=True)
class Rule:
    """Keys without effect.

    Attributes:
        keys: Dotted keys.
        is_idle: Whether they have no effect in a configuration.
        reason: The rest of the line about each key.
        commands: Commands that the rule is for; empty for all that have the keys.
    """

    keys: tuple[str, ...]
    is_idle: Callable[[Lookup], bool]
    reason: str
    commands: tuple[str, ...] = ()
