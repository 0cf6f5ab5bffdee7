"""Parse the package's configurations once a process, which takes half of each composition."""

import copy
from collections.abc import Callable, Hashable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.plugins import Plugins

from rednet.config.composition import CONFIGS


@contextmanager
def cached_configs() -> Iterator[None]:
    """Let Hydra copy what it has parsed before of the package's and its own configurations.

    Files of other folders, which tests write and change, are read each time.
    """
    Plugins.instance()  # registers the sources
    sources = (SourcesRegistry.instance().resolve(scheme) for scheme in ("file", "pkg"))
    with ExitStack() as stack:
        for source in sources:
            stack.enter_context(patch.object(source, "load_config", _cached(source.load_config)))
        yield


def _cached(load: Callable[..., Any]) -> Callable[..., Any]:
    results: dict[Hashable, Any] = {}

    def load_config(self: Any, config_path: str) -> Any:
        if self.path not in (str(CONFIGS), "hydra.conf"):
            return load(self, config_path)
        key = self.provider, self.path, config_path
        if key not in results:
            results[key] = load(self, config_path)
        return copy.deepcopy(results[key])

    return load_config
