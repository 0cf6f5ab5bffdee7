"""The group `search`: a search for the best settings, and its space in Hydra's notation."""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, cast

from hydra.core.override_parser.overrides_parser import OverridesParser, create_functions
from hydra.core.override_parser.types import (
    ChoiceSweep,
    IntervalSweep,
    Override,
    Quote,
    QuotedString,
    RangeSweep,
)
from hydra.errors import HydraException
from pydantic.dataclasses import dataclass

from rednet.config.groups import RULES
from rednet.config.problems import ConfigError, format_value
from rednet.config.types import Count, NonNegativeInt
from rednet.search.metric import Metric
from rednet.search.space import Axis, Choice, Interval, Space

PREFIX = "search.space."
FORMS = "interval(0.1,1), log(1e-3,1), int(interval(1,8)), range(1,9,2), choice(a,b) or [a,b]"


@dataclass(config=RULES, frozen=True, kw_only=True)
class Search:
    """A search for the best settings.

    Attributes:
        space: Values of each key, as text in Hydra's notation or as a list.
        trials: Number of runs in total.
        metric: What decides which run is best.
        sampler: How values are chosen.
        pruner: Which runs end early.
        startup_trials: Runs at random values, before sampler and pruner learn from them.
    """

    name: Literal["optuna"]
    space: dict[str, Any]
    trials: Count
    metric: Metric
    sampler: Literal["tpe", "random"]
    pruner: Literal["median", "hyperband", "none"]
    startup_trials: NonNegativeInt


def quote_space(text: str) -> str:
    """Return an override of the space so that Hydra takes its value for text; others as they are.

    The dots of the key stay in one name: ``optimizer`` may be in the space next to
    ``optimizer.lr``.
    """
    key, equals, value = text.partition("=")
    if not re.fullmatch(rf"\+{{0,2}}{re.escape(PREFIX)}[\w./]+", key) or not equals:
        return text
    key, value = key.lstrip("+").removeprefix(PREFIX), value.strip()
    if value[:1] in ("'", '"') and value[-1:] == value[:1] and len(value) > 1:
        value = value[1:-1]
    return f"++search.space={{{key}: {QuotedString(value, Quote.single).with_quotes()}}}"


def read_space(space: Mapping[str, Any]) -> Space:
    """Return the values of each key.

    Raises:
        ConfigError: Some are not understood, or there are none; one line for each.
    """
    axes: Space = {}
    problems = [] if space else ["search.space: has no key, e.g. search.space.optimizer.lr=..."]
    for key, value in _flatten(space):
        try:
            axes[key] = _read(value)
        except ValueError as error:
            problems.append(f"{PREFIX}{key}: {error}, got {format_value(value)}")
    if problems:
        raise ConfigError(problems)
    return axes


def _flatten(space: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in space.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _read(value: Any) -> Axis:
    """Return the values that a text or a list describes.

    Raises:
        ValueError: It is not understood; the message completes "KEY: ..., got ...".
    """
    if isinstance(value, list):
        return _choice([_plain(item) for item in value])
    if not isinstance(value, str):
        raise ValueError(f"must be {FORMS}")
    try:
        override = _parser().parse_override(f"key={value}")
    except HydraException:
        raise ValueError(f"must be {FORMS}") from None
    sweep = override.value()
    if isinstance(sweep, IntervalSweep):
        return _interval(sweep)
    if isinstance(sweep, RangeSweep):
        return _range(sweep)
    if isinstance(sweep, ChoiceSweep):
        return _choice(list(override.sweep_string_iterator()))
    if isinstance(sweep, list):
        return _choice([Override._get_value_element_as_str(item) for item in sweep])
    raise ValueError(f"must be {FORMS}")


def _interval(sweep: IntervalSweep) -> Interval:
    low, high = cast(float, sweep.start), cast(float, sweep.end)
    if math.isinf(low) or math.isinf(high):
        raise ValueError("both numbers must be finite")
    if not low < high:
        raise ValueError("the second number must be greater than the first")
    return Interval(low, high, log=_is_log(sweep.tags, low))


def _range(sweep: RangeSweep) -> Interval:
    """Return the numbers of a range, which, as Python's, ends before its second number."""
    values = list(sweep.range())
    step = cast(float, sweep.step)
    if len(values) < 2 or step <= 0:
        raise ValueError("must have two numbers or more, in ascending order")
    low = cast(float, sweep.start)
    is_log = _is_log(sweep.tags, low)
    if is_log and step != 1:
        raise ValueError("with tag(log, ...) the step must be 1")
    return Interval(low, low + (len(values) - 1) * step, None if is_log else step, is_log)


def _is_log(tags: set[str], low: float) -> bool:
    if tags - {"log"}:
        raise ValueError("the only tag is log")
    if tags and low <= 0:
        raise ValueError("a logarithmic interval must begin above 0")
    return bool(tags)


def _choice(options: list[str]) -> Choice:
    if len(set(options)) < 2:
        raise ValueError("must have two different values or more")
    return Choice(tuple(dict.fromkeys(options)))


def _plain(item: Any) -> str:
    """Return a value from a list in a file as text that Hydra reads."""
    if isinstance(item, str):
        is_quoted = not item or any(character in " ,=:'\"()[]{}$" for character in item)
        return QuotedString(item, Quote.single).with_quotes() if is_quoted else item
    return Override._get_value_element_as_str(item)


def _parser() -> OverridesParser:
    """Return Hydra's parser, which also knows ``log(low, high)``."""
    functions = create_functions()
    functions.register("log", _log)
    return OverridesParser(functions)


def _log(start: int | float, end: int | float) -> IntervalSweep:
    return IntervalSweep(start=float(start), end=float(end), tags={"log"})
