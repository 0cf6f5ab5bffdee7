"""Read the configuration of a run from its checkpoint, as the plain values that it is."""

from typing import Any

import yaml

MAX_CHARACTERS = 100_000
"""Length of the text; that of a real one is 3,000."""
MAX_DEPTH = 16


class _PlainLoader(yaml.SafeLoader):
    """Loads plain values without aliases, which would allow few lines to stand for millions."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Compose a value; refuse aliases and deep nesting."""
        if self.check_event(yaml.AliasEvent):
            raise ValueError("an alias")
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ValueError("nested too deeply")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def read_run_config(text: Any) -> dict[str, Any]:
    """Return the configuration in a checkpoint of ours.

    References such as ``${oc.env:NAME}`` are text: a file must not read what it asks for.

    Raises:
        ValueError: The text is no configuration, too long, or contains tags or aliases.
    """
    if not isinstance(text, str) or len(text) > MAX_CHARACTERS:
        raise ValueError("no configuration, or too long a one")
    try:
        config = yaml.load(text, _PlainLoader)
    except (yaml.YAMLError, OverflowError) as error:
        raise ValueError("no plain YAML") from error
    if not _is_plain(config) or not isinstance(config, dict):
        raise ValueError("a configuration has groups of plain values only")
    return config


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) for key in value) and all(map(_is_plain, value.values()))
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, str | int | float | bool)
