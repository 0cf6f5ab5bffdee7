"""Tiny networks, data and trainers that the tests of the training room share."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rednet.build.training import build_trainer
from rednet.config import compose
from rednet.runtime import Runtime
from rednet.training.trainer import Trainer

TINY = [
    "experiment=smoke",
    "data.image_size=12",
    "data.train_samples=40",
    "data.val_samples=20",
    "data.batch_size=8",
    "schedule.epochs=2",
]


@pytest.fixture
def make_trainer(tmp_path: Path) -> Callable[..., Trainer]:
    """Builds the trainer of a tiny run from further overrides."""

    def make(*overrides: str, folder: str = "run", **runtime: Any) -> Trainer:
        config = compose("train", [*TINY, *overrides])
        place = replace(Runtime(precision=config.trainer.precision), **runtime)
        path = tmp_path / folder
        path.mkdir(exist_ok=True)
        return build_trainer(config, place, path)

    return make
