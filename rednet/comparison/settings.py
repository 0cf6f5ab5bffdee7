"""Which settings of runs differ, and settings as text."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rednet.comparison.run import Run

NEVER_COMPARED = frozenset(("output_dir", "resume"))
"""Settings that differ between any two runs, or say nothing about them."""


def differing_keys(runs: Sequence[Run]) -> list[str]:
    """Return the settings that are not the same in all runs with a configuration, in its order.

    A setting that only some of them have differs, too.
    """
    known = [run.settings for run in runs if run.settings]
    keys = dict.fromkeys(key for settings in known for key in settings)
    return [key for key in keys if key not in NEVER_COMPARED and _differs(key, known)]


def _differs(key: str, known: Sequence[Mapping[str, Any]]) -> bool:
    return len({_text_or_none(settings, key) for settings in known}) > 1


def _text_or_none(settings: Mapping[str, Any], key: str) -> str | None:
    return to_text(settings[key]) if key in settings else None


def to_text(value: Any) -> str:
    """Return a setting as one would write it on the command line, or nearly so."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return f"[{', '.join(map(to_text, value))}]"
    if isinstance(value, float):
        return f"{value:.6g}"
    return json.dumps(value)


def to_value(value: Any) -> Any:
    """Return a setting as the page sorts it: a number, or text."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number else to_text(value)
