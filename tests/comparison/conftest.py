"""Folders of runs as trainings leave them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from written_runs import write_run


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Return what writes the folder of a run, given its name."""
    return lambda name, *tops, **settings: write_run(tmp_path / name, *tops, **settings)
