"""The keys that an experiment sets, which count as set by the user."""

from collections.abc import Iterator, Sequence

from hydra.core.config_loader import ConfigLoader
from hydra.types import RunMode
from omegaconf import OmegaConf

from rednet.config.problems import leaves
from rednet.config.schema import SCHEMAS


def experiment_keys(loader: ConfigLoader, config_name: str, overrides: Sequence[str]) -> set[str]:
    """Return the dotted keys that the experiment of a job sets; for a group choice, the group.

    The files that an experiment builds upon count, too, and so does a primary configuration of the
    user's own.

    Args:
        loader: Hydra's loader, initialised.
        config_name: Name of the primary configuration.
        overrides: Overrides of the job, as Hydra accepts them.
    """
    defaults = loader.compute_defaults_list(config_name, list(overrides), RunMode.RUN)
    files = {
        entry.config_path
        for entry in defaults.defaults
        if entry.package == "" and entry.config_path not in (None, *SCHEMAS)
    }
    chosen = defaults.overrides.override_metadata
    keys = {group for group, choice in chosen.items() if choice.containing_config_path in files}
    return keys.union(*(_keys_of_file(loader, file) for file in files if file))


def _keys_of_file(loader: ConfigLoader, path: str) -> Iterator[str]:
    for source in loader.get_sources():
        if source.available() and source.is_config(path):
            content = OmegaConf.to_container(source.load_config(path).config)
            assert isinstance(content, dict)
            for name, value in content.items():
                yield from leaves(str(name), value) if name != "defaults" else ()
            return
