"""Want of memory is one line with advice, in every command."""

from pathlib import Path

import pytest
import torch
from equal_runs import load

from rednet.evaluation import evaluate as run_evaluation
from rednet.training.step import TrainStep

TOO_MUCH = 2**58


@pytest.fixture
def run_out(monkeypatch):
    """Return a function that lets a training step ask for too much memory."""
    train_step = TrainStep.__call__

    def run_out(at):
        steps = []

        def greedy(self, *arguments):
            steps.append(1)
            if len(steps) == at:
                torch.empty(TOO_MUCH, dtype=torch.uint8)
            return train_step(self, *arguments)

        monkeypatch.setattr(TrainStep, "__call__", greedy)

    return run_out


def test_training_names_half_the_batch_and_the_last_checkpoint(run_out, train_tiny):
    """With the advice, the same run continues."""
    run_out(2)
    error = train_tiny("output_dir=run", "trainer.save_every_steps=1").error
    assert error == (
        f"out of memory ({TOO_MUCH} bytes more were needed): data.batch_size=2 instead of 4 takes "
        "about half; with trainer.grad_accum_steps=2 it is the same run; its last checkpoint is "
        "run/checkpoints/last.pt"
    )
    assert load(Path("run/checkpoints/last.pt"))["train_state"]["global_step"] == 1
    done = train_tiny("output_dir=run", "data.batch_size=2", "trainer.grad_accum_steps=2")
    assert done.code == 0


def test_before_the_first_save(run_out, train_tiny):
    run_out(1)
    assert train_tiny("output_dir=run").error.endswith("; nothing was saved yet")


def test_evaluation(evaluate, trained, monkeypatch):
    def greedy(*arguments):
        torch.empty(TOO_MUCH, dtype=torch.uint8)
        return run_evaluation(*arguments)

    monkeypatch.setattr("rednet.build.evaluation.evaluate", greedy)
    argv = [f"checkpoint={trained}/checkpoints/last.pt", "data=fashion_mnist"]
    error = evaluate(*argv).error
    assert error.startswith("out of memory (")
    assert error.endswith("data.batch_size=2 instead of 4 takes about half")
