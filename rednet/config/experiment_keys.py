"""The keys that an experiment sets, which count as set by the user."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from hydra.core.config_loader import ConfigLoader
from hydra.types import RunMode
from omegaconf import OmegaConf

from rednet.config.problems import leaves
from rednet.config.schema import SCHEMAS


class ExperimentKeys(NamedTuple):
    """Dotted keys that experiments set; for a group choice, the group.

    Attributes:
        all: Keys of every experiment, and of a primary configuration of the user's own.
        own: Keys of experiments of the user's own.
    """

    all: set[str]
    own: set[str]


def experiment_keys(
    loader: ConfigLoader, config_name: str, overrides: Sequence[str], shipped: Path
) -> ExperimentKeys:
    """Return the keys that the experiment of a job sets.

    The files that an experiment builds upon count, too.

    Args:
        loader: Hydra's loader, initialised.
        config_name: Name of the primary configuration.
        overrides: Overrides of the job, as Hydra accepts them.
        shipped: Folder of the configurations that are part of the package.
    """
    defaults = loader.compute_defaults_list(config_name, list(overrides), RunMode.RUN)
    files = {
        entry.config_path
        for entry in defaults.defaults
        if entry.package == "" and entry.config_path not in (None, *SCHEMAS)
    }
    chosen = defaults.overrides.override_metadata
    keys = {group for group, choice in chosen.items() if choice.containing_config_path in files}
    # Hydra's loader itself does not look into the search path that the overrides extend.
    _, repository = cast(Any, loader)._parse_overrides_and_create_caching_repo(
        config_name, list(overrides)
    )
    own = set()
    for file in filter(None, files):
        found = repository.load_config(file)
        named = _named_keys(found.config)
        keys |= named
        if file.startswith("experiment/") and Path(found.path.removeprefix("file://")) != shipped:
            own |= named
    return ExperimentKeys(keys, own)


def _named_keys(config: Any) -> set[str]:
    content = cast(dict[str, Any], OmegaConf.to_container(config))
    return {leaf for name, value in content.items() for leaf in leaves(name, value)}
