"""Compare what two runs left in their folders: everything but durations must be equal."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rednet.training.metrics import read_metrics

TIMES = {"seconds", "images_per_second"}


def assert_equal_runs(one: Path, other: Path) -> None:
    """Require equal rows, points, names and checkpoints, to the last bit."""
    assert rows(one) == rows(other)
    assert points(one) == points(other)
    for name in ("last.pt", "best.pt"):
        assert_equal_values(*(load(run / "checkpoints" / name) for run in (one, other)))


def rows(run: Path) -> list[dict[str, Any]]:
    """Return the rows of metrics.jsonl without durations."""
    return [without_times(row) for row in read_metrics(run)]


def points(run: Path) -> dict[str, list[tuple[int, float]]]:
    """Return (step, value) of each tag in TensorBoard, without what a later start purged."""
    board = EventAccumulator(str(run / "tensorboard"), {"scalars": 0}).Reload()
    tags = board.Tags()["scalars"]
    tags = [tag for tag in tags if tag not in TIMES and not tag.startswith("speed/")]
    assert tags
    return {tag: [(point.step, repr(point.value)) for point in board.Scalars(tag)] for tag in tags}


def load(path: Path) -> Any:
    """Return the content of a checkpoint."""
    return torch.load(path, weights_only=True)


def without_times(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mapping without durations."""
    return {key: item for key, item in value.items() if key not in TIMES}


def assert_equal_states(one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    """Require the same tensors under the same names."""
    assert one.keys() == other.keys()
    for key in one:
        assert torch.equal(one[key], other[key]), key


def assert_equal_values(one: Any, other: Any, path: str = "") -> None:
    """Require equal nested values; tensors must be equal to the last bit."""
    assert type(one) is type(other), path
    if isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype, path
        assert torch.equal(one, other), path
    elif isinstance(one, dict):
        one, other = without_times(one), without_times(other)
        assert one.keys() == other.keys(), path
        for key in one:
            if key not in ("config", "versions"):  # the settings of the last start, such as limits
                assert_equal_values(one[key], other[key], f"{path}/{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), path
        for index, pair in enumerate(zip(one, other, strict=True)):
            assert_equal_values(*pair, f"{path}/{index}")
    else:
        assert one == other, path
