"""From overrides to checked configurations: Hydra composes, the schema judges.

Hydra stops at the first unknown key and does not check the range of a value. So every value is
passed as ``++key=value``, which Hydra always accepts, and the schema reports all mistakes at once.
"""

import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from rednet.config.checking import (
    find_problems,
    legal_keys,
    misplaced_keys,
    validate,
)
from rednet.config.effects import idle_keys
from rednet.config.experiment_keys import experiment_keys
from rednet.config.overrides import expand_jobs, named_keys, one_line, parse, values
from rednet.config.problems import ConfigError, unknown_choice
from rednet.config.resolvers import register_resolvers
from rednet.config.schema import SCHEMAS
from rednet.config.search import quote_space
from rednet.config.search_checking import search_problems
from rednet.config.user_keys import UserKeys

CONFIGS = Path(__file__).parents[1] / "configs"

register_resolvers()

_COMPOSITION_ERRORS = (HydraException, OmegaConfBaseException, YAMLError, ValueError, UserWarning)


@dataclass(frozen=True)
class Composition:
    """What Hydra composes from one command line.

    Attributes:
        overrides: Overrides in the form that Hydra accepts.
        explicit_keys: Dotted keys that the overrides set; for a group choice the group (``model``).
        fixed_keys: Those of them that have one value for all jobs.
        configs: Configuration of each job, as plain dicts.
        experiment_keys: Dotted keys that the experiments of the jobs set, named in the same way.
        own_experiment_keys: Those of them that experiments of the user's own set.
    """

    overrides: list[str]
    explicit_keys: frozenset[str]
    fixed_keys: frozenset[str]
    configs: list[dict[str, Any]]
    experiment_keys: frozenset[str] = frozenset()
    own_experiment_keys: frozenset[str] = frozenset()

    @property
    def meant_keys(self) -> frozenset[str]:
        """Dotted keys that are meant to have an effect.

        They are those of the command line, and those of the user's own experiments except in groups
        that the command line changes: what is left of the experiment there need not fit.
        """
        changed = {_group(key) for key in self.explicit_keys}
        kept = {key for key in self.own_experiment_keys if _group(key) not in changed}
        return self.explicit_keys | kept

    @property
    def user_keys(self) -> UserKeys:
        """Dotted keys that the user set, on the command line or by an experiment.

        A key beside which a sweep varies others of its group need not have an effect in each job.
        """
        swept = self.explicit_keys - self.fixed_keys
        meant = [
            key
            for key in self.meant_keys
            if not any(_group(other) == _group(key) for other in swept - {key})
        ]
        return UserKeys(self.explicit_keys | self.experiment_keys, meant)

    def after_draw(self, drawn: Sequence[str]) -> "Composition":
        """Return the same with keys that vary from one run of a search to the next."""
        keys = {text.partition("=")[0] for text in drawn}
        return replace(self, fixed_keys=self.fixed_keys - keys)


def _group(key: str) -> str:
    return key.partition(".")[0]


def compose(command: str, overrides: Sequence[str] = ()) -> Any:
    """Compose a command's configuration, e.g. ``compose("train", ["experiment=smoke"])``.

    Raises:
        ConfigError: Something is wrong; the error has one line for each mistake.
    """
    return validate(compose_jobs(command, overrides).configs[0], SCHEMAS[command])


def compose_jobs(
    command: str,
    overrides: Sequence[str],
    *,
    config_name: str | None = None,
    folders: Sequence[str | Path] = (CONFIGS,),
    unused: Collection[str] = (),
    multirun: bool = False,
    allow_missing: bool = False,
    drawn: Sequence[str] | None = None,
) -> Composition:
    """Compose and check the configuration of every job that the overrides describe.

    Args:
        command: Name of the command, a key of `SCHEMAS`.
        overrides: Overrides in Hydra's notation.
        config_name: Name of the primary configuration; by default the command's.
        folders: Folders of configurations; the first holds the primary configuration.
        unused: Dotted keys that have no effect on this command; setting one is a mistake.
        multirun: Whether several values for one key mean one job each.
        allow_missing: Whether to accept values that the user has yet to give (``???``).
        drawn: Further overrides, whose values a search has drawn; None outside of a search.

    Raises:
        ConfigError: Something is wrong; the error has one line for each mistake.
    """
    for folder in folders:
        if not Path(folder).is_dir():
            raise ConfigError([f"there is no folder of configurations '{folder}'"])
    composer = _Composer(config_name or command, SCHEMAS[command], unused)
    main = str(Path(folders[0]).absolute())
    with warnings.catch_warnings(), hydra.initialize_config_dir(main, version_base="1.3"):
        warnings.filterwarnings("error", message="provider=.* is not available")
        try:
            composer.search = _search_path(folders[1:], overrides)
            texts = [*map(quote_space, overrides), *(drawn or ())]
            composition = composer.compose_all(texts, multirun=multirun)
            if drawn is None and not composer.problems:
                composer.problems += composer.check_search(composition, multirun=multirun)
        except _COMPOSITION_ERRORS as error:
            raise ConfigError([*composer.problems, one_line(error)]) from None
    if drawn is not None:
        composition = composition.after_draw(drawn)
    meant = composition.meant_keys if drawn is None else composition.user_keys.meant
    idle = _idle_in_all(command, composition, meant - set(unused))
    problems = composer.problems
    for config in composition.configs:
        found = find_problems(config, SCHEMAS[command], allow_missing=allow_missing)
        # Another value of a key without effect would have none either.
        problems += [line for line in found if line.partition(": ")[0] not in idle]
    problems += idle.values()
    if problems:
        raise ConfigError(problems)
    return composition


def _idle_in_all(command: str, composition: Composition, keys: Collection[str]) -> dict[str, str]:
    """Return the keys that have no effect in any job, each with the line about it."""
    lines = [idle_keys(command, job, keys) for job in composition.configs]
    common = set.intersection(*(set(job) for job in lines)) if lines else set()
    return {key: line for key, line in lines[0].items() if key in common} if lines else {}


class _Composer:
    """Composes the jobs of one command line inside an initialised Hydra."""

    def __init__(self, config_name: str, schema: type, unused: Collection[str]) -> None:
        self.config_name, self.schema, self.unused = config_name, schema, unused
        self.search: list[str] = []
        self.problems: list[str] = []

    def compose_all(self, texts: Sequence[str], *, multirun: bool) -> Composition:
        """Compose every job; collect the mistakes in `problems`."""
        loader = GlobalHydra.instance().config_loader()
        explicit_keys: list[str] = []
        accepted = []
        for text in texts:
            try:
                override = parse(text, loader, multirun=multirun)
                explicit_keys += named_keys(override)
                accepted.append((self._rewrite(override), override))
            except ConfigError as error:
                self.problems += error.problems
        jobs = expand_jobs(accepted)
        configs = [self._compose_job(job) for job in jobs]
        overrides = [*self.search, *(text for text, _ in accepted)]
        swept = {override.key_or_group for _, override in accepted if override.is_sweep_override()}
        fixed = {override.key_or_group for _, override in accepted} - swept
        found = [
            experiment_keys(loader, self.config_name, self._all(job), CONFIGS)
            for job in ([] if self.problems else jobs)
        ]
        return Composition(
            overrides,
            frozenset(explicit_keys),
            frozenset(fixed),
            configs,
            experiment_keys=frozenset[str]().union(*(keys.all for keys in found)),
            own_experiment_keys=frozenset[str]().union(*(keys.own for keys in found)),
        )

    def check_search(self, composition: Composition, *, multirun: bool) -> list[str]:
        """Return one line for each mistake in the search of a command line, if there is one."""
        config = composition.configs[0]
        if not (search := config.get("search")):
            return []
        if "name" not in search:
            del config["search"]
            keys = sorted(key for key in composition.explicit_keys if _group(key) == "search")
            return [f"{key}: needs search=optuna" for key in keys]
        if multirun:
            return ["search: one search is one command, without --multirun"]
        return search_problems(config, self.schema, composition.explicit_keys, self._choices)

    def _all(self, job: Sequence[str]) -> list[str]:
        return [*self.search, *job]

    def _rewrite(self, override: Override) -> str:
        """Return the override in the form that Hydra accepts whether or not its key exists.

        ``+model=x`` becomes ``model=x``; ``model=null``, which means no model, becomes ``~model``.
        """
        key, text = override.key_or_group, str(override.input_line)
        if problems := misplaced_keys(named_keys(override), self.schema, self.unused):
            raise ConfigError(problems)
        if override.is_hydra_override() or override.is_delete() or override.package is not None:
            return text
        is_value = "." in key or isinstance(override.value(), dict)
        choices = [] if is_value else self._choices(key)
        if not choices:
            return f"++{key}={override.get_value_string()}"
        if override.value() is None:
            return f"~{key}"
        if unknown := [name for name in values(override) if name not in choices]:
            raise ConfigError(unknown_choice(key, name, choices) for name in unknown)
        if isinstance(override.value(), float):  # debug=nan, which Hydra takes for a number
            text = f"{key}='{override.get_value_string()}'"
        # A group that the user adds is not in our defaults list and needs its "+".
        return text.lstrip("+") if key in legal_keys(self.schema) else text

    def _choices(self, group: str) -> list[str]:
        """Return the choices of a group, nested ones as ``folder/name``; empty for other keys."""
        loader = GlobalHydra.instance().config_loader()
        choices = loader.get_group_options(group, overrides=self.search)
        for folder in loader.get_group_options(group, ObjectType.GROUP, overrides=self.search):
            choices += [f"{folder}/{name}" for name in self._choices(f"{group}/{folder}")]
        return choices

    def _compose_job(self, job: Sequence[str]) -> dict[str, Any]:
        """Compose one job, without the overrides that cannot be composed."""
        try:
            return self._compose(job)
        except _COMPOSITION_ERRORS:
            config = self._compose([])
        kept: list[str] = []
        for text in sorted(job, key=lambda text: text.startswith("++")):  # groups first
            try:
                config = self._compose([*kept, text])
                kept.append(text)
            except _COMPOSITION_ERRORS as error:
                self.problems.append(f"{text.removeprefix('++')}: {one_line(error)}")
        return config

    def _compose(self, job: Sequence[str]) -> dict[str, Any]:
        composed = hydra.compose(self.config_name, self._all(job))
        return cast(dict[str, Any], OmegaConf.to_container(composed, resolve=True))


def _search_path(folders: Sequence[str | Path], texts: Sequence[str]) -> list[str]:
    """Return one override for all further folders, if any; Hydra ignores a second override."""
    paths = [f"file://{Path(folder).absolute()}" for folder in folders]
    for text in texts:
        if text.startswith("hydra.searchpath="):
            paths += values(OverridesParser.create().parse_override(text))
    quoted = [QuotedString(path, Quote.single).with_quotes() for path in paths]
    return [f"hydra.searchpath=[{','.join(quoted)}]"] if quoted else []
