"""The overrides of a command line, in Hydra's notation: what they name, and what cannot be read."""

import itertools
import re
from collections.abc import Iterable
from pathlib import Path

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException

from rednet.config.problems import leaves


def parse(
    texts: Iterable[str], loader: ConfigLoader, multirun: bool
) -> tuple[list[Override], list[str]]:
    """The overrides, and a line for each that cannot be read.

    Args:
        texts: in Hydra's notation.
        loader: knows the choices that a pattern such as ``glob(rednet*)`` stands for.
        multirun: whether several values for a key are one job each.
    """
    parser = OverridesParser.create(loader)
    overrides, problems = [], []
    for text in texts:
        try:
            override = parser.parse_overrides([text])[0]
        except HydraException as error:
            problems.append(_unreadable(text, error))
            continue
        if override.is_sweep_override() and not multirun:
            problems.append(
                f"{text}: a list is written [a,b]; several values, one job each, need -m"
            )
        elif not override.key_or_group:
            problems.append(_unreadable(text))
        else:
            overrides.append(override)
    return overrides, problems


def values(override: Override) -> list[str]:
    """The values that an override gives to its key, as text; none for a continuous range."""
    if override.is_sweep_override():
        return list(override.sweep_string_iterator()) if override.is_discrete_sweep() else []
    value = override.value()
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]


def named_keys(override: Override) -> list[str]:
    """The dotted keys that an override is about; for a group's choice the group."""
    if override.is_hydra_override():
        return []
    return leaves(override.key_or_group, override.value())


def jobs(pairs: Iterable[tuple[str, Override]]) -> list[list[str]]:
    """Every combination of the values; those of a continuous range are left to Hydra's sweeper."""
    axes = []
    for text, override in pairs:
        if not override.is_sweep_override():
            axes.append([text])
        elif override.is_discrete_sweep():
            key = text.partition("=")[0]
            axes.append([f"{key}={value}" for value in values(override)])
    return [list(job) for job in itertools.product(*axes)]


def search_path(overrides: Iterable[Override], config_dir: str | None) -> list[str]:
    """The one override that names all further folders of configurations, if there are any."""
    folders = [f"file://{Path(config_dir).absolute()}"] if config_dir else []
    for override in overrides:
        if override.key_or_group == "hydra.searchpath":
            value = override.value()
            folders += value if isinstance(value, list) else [str(value)]
    quoted = [QuotedString(str(folder), Quote.single).with_quotes() for folder in folders]
    return [f"hydra.searchpath=[{','.join(quoted)}]"] if quoted else []


def one_line(error: BaseException) -> str:
    """The message of one of Hydra's errors without its line breaks, lists and links."""
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
