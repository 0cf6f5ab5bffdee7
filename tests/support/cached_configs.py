"""Let Hydra compose in a third of the time, by parsing the package's configurations once."""

import copy
import pickle
from collections.abc import Callable, Hashable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from hydra._internal import defaults_list
from hydra._internal.config_repository import CachingConfigRepository
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.default_element import InputDefault
from hydra.core.plugins import Plugins
from omegaconf import DictConfig

from rednet.config.composition import CONFIGS


@contextmanager
def cached_configs() -> Iterator[None]:
    """Let Hydra copy what it has parsed before of the package's and its own configurations.

    Files of other folders, which tests write and change, are read each time. Hydra also leaves out
    copies and maps that it makes for every file but does not need here.
    """
    Plugins.instance()  # registers the sources
    sources = (SourcesRegistry.instance().resolve(scheme) for scheme in ("file", "pkg"))
    with ExitStack() as stack:
        for source in sources:
            stack.enter_context(patch.object(source, "load_config", _cached(source.load_config)))
        stack.enter_context(patch.object(CachingConfigRepository, "__init__", _share_store))
        name = "_create_interpolation_map"
        stack.enter_context(patch.object(defaults_list, name, _map_if_needed))
        yield


_create_map = defaults_list._create_interpolation_map


def _map_if_needed(overrides: Any, defaults: list[InputDefault], self_added: bool) -> DictConfig:
    """Map choices to names only if a default refers to another one."""
    if any(default.is_interpolation() for default in defaults):
        return _create_map(overrides, defaults, self_added)
    return DictConfig({})


def _share_store(self: CachingConfigRepository, delegate: Any) -> None:
    """Keep a copy of a repository, as Hydra replaces its sources, but not of what these hold."""
    self.delegate, self.cache = copy.copy(delegate), {}


def _cached(load: Callable[..., Any]) -> Callable[..., Any]:
    results: dict[Hashable, bytes] = {}

    def load_config(self: Any, config_path: str) -> Any:
        if self.path not in (str(CONFIGS), "hydra.conf"):
            return load(self, config_path)
        key = self.provider, self.path, config_path
        if key not in results:
            results[key] = pickle.dumps(load(self, config_path))
        return pickle.loads(results[key])

    return load_config
