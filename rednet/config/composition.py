"""From overrides to checked configurations: Hydra composes, the schema judges.

Hydra stops at the first key it does not know and never sees a value's range. So every value goes to
it as ``++key=value``, which it sets without a question, and the schema finds all that is wrong.
"""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from rednet.config.checking import find_problems, foreign_keys, legal_keys, validate
from rednet.config.overrides import jobs, named_keys, one_line, parse, search_path, values
from rednet.config.problems import ConfigError, nearest, suggestion
from rednet.config.schema import SCHEMAS

CONFIGS = Path(__file__).parents[1] / "configs"

_COMPOSITION_ERRORS = (HydraException, OmegaConfBaseException, YAMLError, ValueError)


@dataclass(frozen=True)
class Request:
    """What a command line asks for.

    Attributes:
        overrides: its overrides in the form in which Hydra is to get them.
        explicit_keys: the dotted keys they set; a group's choice is the group, e.g. ``model``.
        configs: the composed configuration of each job, as plain dicts.
        problems: a line for everything that is wrong.
    """

    overrides: list[str]
    explicit_keys: frozenset[str]
    configs: list[dict[str, Any]]
    problems: list[str]


def compose(command: str, overrides: Iterable[str] = ()) -> Any:
    """The checked configuration of a command, e.g. ``compose("train", ["experiment=smoke"])``.

    Raises:
        ConfigError: with a line for everything that is wrong.
    """
    request = read(command, overrides)
    if request.problems:
        raise ConfigError(request.problems)
    return validate(request.configs[0], SCHEMAS[command])


def read(
    command: str,
    overrides: Iterable[str],
    *,
    config_name: str | None = None,
    config_path: Path = CONFIGS,
    config_dir: str | None = None,
    multirun: bool = False,
    allow_missing: bool = False,
) -> Request:
    """Composes and checks what the overrides ask for, before anything is run.

    Args:
        command: one of `SCHEMAS`, whose name its configuration has.
        overrides: in Hydra's notation.
        config_name: another primary configuration, without ``.yaml``.
        config_path: the folder of the primary configuration.
        config_dir: a further folder of configurations.
        multirun: whether several values for a key are one job each.
        allow_missing: whether values that the user has yet to give (``???``) are no problem.

    Raises:
        ConfigError: where there is nothing to compose from.
    """
    for folder in (config_path, config_dir or config_path):
        if not Path(folder).is_dir():
            raise ConfigError([f"there is no folder of configurations '{folder}'"])
    with (
        warnings.catch_warnings(),
        hydra.initialize_config_dir(str(Path(config_path).absolute()), version_base="1.3"),
    ):
        warnings.filterwarnings("error", message="provider=.* is not available")
        reader = _Reader(config_name or command, SCHEMAS[command], multirun, allow_missing)
        try:
            return reader.read(overrides, config_dir)
        except (HydraException, UserWarning) as error:
            raise ConfigError([*reader.problems, one_line(error)]) from None


@dataclass
class _Reader:
    """Reads one command line inside an initialised Hydra and collects what is wrong with it."""

    config_name: str
    schema: type
    multirun: bool
    allow_missing: bool
    problems: list[str] = field(default_factory=list)
    search: list[str] = field(default_factory=list)

    def read(self, texts: Iterable[str], config_dir: str | None) -> Request:
        loader = GlobalHydra.instance().config_loader()
        parsed, self.problems = parse(texts, loader, self.multirun)
        self.search = search_path(parsed, config_dir)
        ours = [override for override in parsed if not self._is_foreign(override)]
        pairs = [(text, override) for override in ours for text in self._rewritten(override)]
        configs = [config for job in jobs(pairs) for config in self._composed(job)]
        for config in configs:
            self.problems += find_problems(config, self.schema, allow_missing=self.allow_missing)
        return Request(
            [*self.search, *(text for text, _ in pairs)],
            frozenset(key for override in parsed for key in named_keys(override)),
            configs,
            list(dict.fromkeys(self.problems)),
        )

    def _is_foreign(self, override: Override) -> bool:
        """Whether it is about other commands only, which is a problem."""
        foreign = foreign_keys(self.schema).intersection(named_keys(override))
        for key in sorted(foreign):
            near = nearest(key, legal_keys(self.schema), cutoff=0.8)
            guess = f"; did you mean '{near}'?" if near else ""
            self.problems.append(f"{key}: this command does not use it{guess}")
        return bool(foreign)

    def _rewritten(self, override: Override) -> Iterator[str]:
        """The override as Hydra is to get it, or nothing if it cannot have it."""
        key, text = override.key_or_group, str(override.input_line)
        if key == "hydra.searchpath":
            return
        if override.is_hydra_override() or override.package is not None:
            yield text
        elif self._choices(key) and not isinstance(override.value(), dict):
            yield from self._choice(override)
        elif override.is_delete():
            yield text
        else:
            yield f"++{key}={override.get_value_string()}"

    def _choice(self, override: Override) -> Iterator[str]:
        """For a group: ``model=null`` means none of its files, and ``+model=x`` is ``model=x``."""
        group, text = override.key_or_group, str(override.input_line)
        if override.is_delete():
            yield text
        elif override.value() is None:
            yield f"~{group}"
        elif self._are_choices(override):
            is_ours = group in legal_keys(self.schema)
            yield f"{group}={override.get_value_string()}" if is_ours else text

    def _are_choices(self, override: Override) -> bool:
        group, before = override.key_or_group, len(self.problems)
        for name in values(override):
            if name not in (choices := self._nested_choices(group)):
                line = suggestion(name, choices, f"the choices of {group} are")
                self.problems.append(f"unknown choice '{group}={name}': {line}")
        return len(self.problems) == before

    def _nested_choices(self, group: str) -> list[str]:
        """The choices of a group, those in its folders as ``folder/name``."""
        inner = [
            f"{folder}/{name}"
            for folder in self._choices(group, ObjectType.GROUP)
            for name in self._nested_choices(f"{group}/{folder}")
        ]
        return [*self._choices(group), *inner]

    def _choices(self, group: str, kind: ObjectType = ObjectType.CONFIG) -> list[str]:
        loader = GlobalHydra.instance().config_loader()
        return loader.get_group_options(group, kind, overrides=self.search)

    def _composed(self, job: Sequence[str]) -> list[dict[str, Any]]:
        try:
            return [self._compose(job)]
        except _COMPOSITION_ERRORS as error:
            return self._salvaged(job, error)

    def _salvaged(self, job: Sequence[str], reason: Exception) -> list[dict[str, Any]]:
        """Composes what can be composed: adds the overrides one by one, groups first."""
        kept: list[str] = []
        try:
            config = self._compose(kept)
        except _COMPOSITION_ERRORS:
            self.problems.append(one_line(reason))
            return []
        for text in sorted(job, key=lambda text: text.startswith("++")):
            try:
                config = self._compose([*kept, text])
                kept.append(text)
            except _COMPOSITION_ERRORS as error:
                self.problems.append(f"{text}: {one_line(error)}")
        return [config]

    def _compose(self, job: Sequence[str]) -> dict[str, Any]:
        composed = hydra.compose(self.config_name, [*self.search, *job])
        plain = OmegaConf.to_container(composed, resolve=True)
        assert isinstance(plain, dict)
        return {str(key): value for key, value in plain.items()}
