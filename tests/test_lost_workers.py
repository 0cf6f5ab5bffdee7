"""A run whose workers are killed and stopped again and again ends as if nothing had happened."""

import os
import signal
from multiprocessing import active_children
from pathlib import Path

import pytest
from equal_runs import assert_equal_runs, load

from rednet import commands
from rednet.training.step import TrainStep

STEPS = 5
RUN = [
    *("experiment=smoke", "model.options.width=0.0625", "data.image_size=12", "augment=paper"),
    *("data.train_samples=20", "data.val_samples=20", "data.batch_size=4", "schedule.epochs=2"),
    *("data.num_workers=2", "trainer.ema_decay=0.9", "trainer.save_every_minutes=null"),
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of an undisturbed run."""
    folder = tmp_path_factory.mktemp("run") / "whole"
    assert commands.train([*RUN, f"output_dir={folder}"]) == 0
    return folder


@pytest.mark.nightly  # at every commit, test_chaos.py has them
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_the_run_is_the_same(number, whole, tmp_path, monkeypatch, capsys):
    train_step, steps = TrainStep.__call__, []

    def disturbed(self, *arguments):
        steps.append(1)
        if len(steps) in (1, STEPS):  # also those that are about to load the validation images
            for worker in active_children():
                os.kill(worker.pid, number)
        return train_step(self, *arguments)

    monkeypatch.setattr(TrainStep, "__call__", disturbed)
    folder = tmp_path / "run"
    assert commands.train([*RUN, "data.timeout=1", f"output_dir={folder}"]) == 0
    lost = [line for line in capsys.readouterr().out.splitlines() if "worker" in line]
    cause = "was killed (SIGKILL)" if number == signal.SIGKILL else "is stopped, data.timeout=1"
    assert lost
    assert all(line.startswith(f"warning: a data loading worker {cause}") for line in lost)
    assert_equal_runs(folder, whole)
    assert not active_children()


def test_a_run_that_has_no_replacement_left_is_saved(tmp_path, whole, monkeypatch, capsys):
    train_step, steps = TrainStep.__call__, []

    def disturbed(self, *arguments):
        steps.append(1)
        for worker in active_children() if len(steps) == 1 else ():
            worker.kill()
        return train_step(self, *arguments)

    monkeypatch.setattr(TrainStep, "__call__", disturbed)
    argv = [*RUN, "data.max_worker_restarts=0", f"output_dir={tmp_path}"]
    assert commands.train(argv) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: a data loading worker was killed (SIGKILL)")
    assert "data.max_worker_restarts=0 are used up; step " in line
    assert line.endswith(f" is saved in {tmp_path}")
    step = load(Path(tmp_path, "checkpoints", "last.pt"))["train_state"]["global_step"]
    assert f"step {step} is saved" in line
    assert commands.train(argv) == 0
    assert_equal_runs(tmp_path, whole)
