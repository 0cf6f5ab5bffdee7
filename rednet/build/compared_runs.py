"""Runs that are compared on a page, with the size of their networks."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rednet.build.inspection import count_network
from rednet.comparison.reading import read_run
from rednet.comparison.run import NetworkSize, Run
from rednet.errors import InputError
from rednet.weights import read_checkpoint

CHECKPOINTS = ("checkpoints/best.pt", "checkpoints/last.pt")
NETWORK = ("model.", "data.name", "data.root", "data.dataset", "data.table", "data.shards")
"""Settings that decide about the size of a network: where they are equal, so is the size."""
IMAGES = ("data.image_size", "data.mean", "data.classes")
UNKNOWN = NetworkSize()


def read_runs(folders: Mapping[str, Path], max_mistakes: int, count_macs: bool) -> list[Run]:
    """Read runs; of those with equal networks one checkpoint is read.

    Args:
        folders: Folder of each run by name.
        max_mistakes: Number of wrongly predicted images to read of each.
        count_macs: Whether to read checkpoints for the size of the networks.
    """
    runs = [read_run(name, folder, max_mistakes) for name, folder in folders.items()]
    return _with_sizes(runs) if count_macs else runs


def _with_sizes(runs: Sequence[Run]) -> list[Run]:
    sizes: dict[str, NetworkSize] = {}
    for run in runs:
        key = _network_key(run)
        if sizes.get(key, UNKNOWN) == UNKNOWN:
            sizes[key] = _read_size(Path(run.folder))
    return [replace(run, size=sizes[_network_key(run)]) for run in runs]


def _network_key(run: Run) -> str:
    """Return a text that is equal for runs with equal networks; each without settings has one."""
    settings = {
        key: value
        for key, value in run.settings.items()
        if key.startswith(NETWORK) or key in IMAGES
    }
    return json.dumps(settings or run.folder, sort_keys=True)


def _read_size(folder: Path) -> NetworkSize:
    """Return the size of the network in a run's checkpoint, unknown if none can be read."""
    for name in CHECKPOINTS:
        path = folder / name
        if not path.is_file():
            continue
        try:
            found: Mapping[str, Any] = count_network(read_checkpoint(path, key="runs"))
        except InputError:
            continue
        return NetworkSize(found.get("parameters"), found.get("macs"))
    return UNKNOWN
