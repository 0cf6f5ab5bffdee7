"""Overrides in Hydra's notation: parsed, expanded into jobs, explained where they are wrong."""

import itertools
import re
from collections.abc import Iterable

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException

from rednet.config.problems import ConfigError, leaves


def parse(text: str, loader: ConfigLoader, *, multirun: bool) -> Override:
    """Parse one override; `loader` lists what a pattern such as ``glob(rednet*)`` matches.

    Raises:
        ConfigError: It cannot be parsed, or has several values without `multirun`.
    """
    try:
        (override,) = _parse_tildes(text, OverridesParser.create(loader))
    except HydraException as error:
        raise ConfigError([_unreadable(text, error)]) from None
    if override.is_sweep_override() and not multirun:
        hint = "write a list as [a,b]; several values, one job each, need --multirun"
        raise ConfigError([f"{text}: {hint}"])
    if not override.key_or_group:
        raise ConfigError([_unreadable(text)])
    return override


def _parse_tildes(text: str, parser: OverridesParser) -> list[Override]:
    """Parse an override; in its value ``~``, which Hydra's grammar lacks, may stand unquoted."""
    try:
        return parser.parse_overrides([text])
    except HydraException:
        quoted = _quote_tildes(text)
        if quoted == text:
            raise
    return parser.parse_overrides([quoted])


def _quote_tildes(text: str) -> str:
    """Quote the value of an override, or the elements of its list, that contain ``~``."""

    def quote(found: re.Match[str]) -> str:
        return found[1] + QuotedString(found[2].rstrip(), Quote.single).with_quotes()

    key, equals, value = text.partition("=")
    plain = r"[^\[\](){},'\"]*"
    with_tilde = rf"(^|[\[(,] *|: +)({plain}~{plain})"
    return key + equals + re.sub(with_tilde, quote, value)


def values(override: Override) -> list[str]:
    """Return the values that an override gives to its key, as text; none for a continuous range."""
    if override.is_sweep_override():
        return list(override.sweep_string_iterator()) if override.is_discrete_sweep() else []
    value = override.value()
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]


def named_keys(override: Override) -> list[str]:
    """Return the dotted keys that an override names; for a group choice, the group."""
    if override.is_hydra_override():
        return []
    return leaves(override.key_or_group, override.value())


def expand_jobs(pairs: Iterable[tuple[str, Override]]) -> list[list[str]]:
    """Return the overrides of each job: one job for every combination of the values.

    A continuous range is left out, since only a sweeper knows its values.
    """
    axes = []
    for text, override in pairs:
        if not override.is_sweep_override():
            axes.append([text])
        elif override.is_discrete_sweep():
            key = text.partition("=")[0]
            axes.append([f"{key}={value}" for value in values(override)])
    return [list(job) for job in itertools.product(*axes)]


def one_line(error: BaseException) -> str:
    """Return the message of a Hydra error without line breaks, search paths and links."""
    message = re.split(r"\n?Config search path:|\n?See https:", str(error))[0]
    cause = f": {error.__cause__}" if error.__cause__ else ""
    return " ".join(f"{message}{cause}".split())


def _unreadable(text: str, error: HydraException | None = None) -> str:
    key, equals, value = text.partition("=")
    if not equals or not re.fullmatch(r"(~|\+{0,2})[\w./@:-]+", key):
        return f"cannot read '{text}': write key=value"
    if any(value.count(left) != value.count(right) for left, right in ("[]", "{}", "()")):
        return f"cannot read '{text}': its brackets do not close"
    if error and "while evaluating" in str(error):
        return f"cannot read '{text}': {one_line(error)}"
    return f"""cannot read '{text}': quote the value, '{key}="{value}"'"""
