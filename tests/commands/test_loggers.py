"""Loggers on the command line."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from rednet.loggers import wandb_run


def test_a_missing_package_is_one_line_before_anything_else(train_tiny, monkeypatch):
    monkeypatch.setattr(wandb_run, "find_spec", lambda name: None)
    done = train_tiny("logger=[tensorboard,wandb]", "output_dir=run")
    assert done.error == 'logger: wandb is missing: pip install "rednet[wandb]"'
    assert not Path("run").exists() and done.out == ""


@pytest.mark.parametrize("value", ["mlflow", "[tensorboard,mlflow]", "null", "3"])
def test_other_values_are_refused(value, train_tiny):
    assert "logger" in train_tiny(f"logger={value}").error


@pytest.mark.skipif(find_spec("wandb") is None, reason='needs pip install "rednet[wandb]"')
def test_all_loggers(train_tiny, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    done = train_tiny("logger=[csv,wandb,tensorboard,csv]", "output_dir=run")
    assert (done.code, done.err) == (0, "") and "warning" not in done.out
    for pattern in ("scalars.csv", "tensorboard/events*", "wandb/offline-run-*/*.wandb"):
        assert len(list(Path("run").glob(pattern))) == 1
