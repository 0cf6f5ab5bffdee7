"""Searches of several processes, and one that is killed again and again, with real processes."""

import os
import signal
import subprocess
import sys

import pytest

from rednet.training.metrics import read_metrics

optuna = pytest.importorskip("optuna", reason='needs pip install "rednet[search]"')

COMMAND = [
    *(sys.executable, "-m", "rednet", "train", "model=timm", "model.name=test_resnet"),
    *("data=fashion_mnist", "data.train_samples=64", "data.val_samples=20", "data.batch_size=16"),
    *("data.num_workers=0", "data.image_size=32", "schedule=constant", "schedule.epochs=3"),
    *("trainer.device=cpu", "search=optuna", "search.space.optimizer.lr=log(1e-3,1)"),
    *("search.pruner=none", "output_dir=X"),
]


@pytest.fixture
def start():
    """Return a function that starts a search with so many trials; what is left of them is ended."""
    processes = []

    def run(trials):
        command = [*COMMAND, f"search.trials={trials}"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def wait_for(process, text):
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"the process ended without: {text}")


def study():
    return optuna.load_study(study_name="rednet", storage="sqlite:///X/search.db")


def params():
    return [trial.params for trial in study().trials]


@pytest.mark.nightly
def test_a_search_that_is_killed_goes_on_as_if_it_had_not_been(start, work_folder):
    whole = start(3)
    assert whole.wait() == 0
    expected, metrics = params(), [read_metrics(path) for path in sorted(work_folder.glob("X/t*"))]
    os.rename("X", "whole")
    for trial in (0, 1, 2):
        process = start(3)
        wait_for(process, f"trial {trial}, of 3")
        wait_for(process, "epoch 2 ")
        process.kill()
        process.wait()
        assert study().trials[-1].state == optuna.trial.TrialState.RUNNING
        assert len(study().trials) == trial + 1
    last = start(3)
    assert last.wait() == 0 and "resumed after" in last.stdout.read()
    assert params() == expected
    for folder, rows in zip(sorted(work_folder.glob("X/t*")), metrics, strict=True):
        scores = [(row["epoch"], row["train_loss"], row["val_top1"]) for row in rows]
        again = [(r["epoch"], r["train_loss"], r["val_top1"]) for r in read_metrics(folder)]
        assert again == scores


@pytest.mark.nightly
def test_processes_share_a_search_and_one_takes_over_what_another_leaves(start, work_folder):
    first = start(3)
    wait_for(first, "trial 0, of 3")
    first.send_signal(signal.SIGSTOP)
    second = start(3)
    wait_for(second, "trial 1, of 3")  # that of the stopped process is not its to take
    first.kill()
    first.wait()
    rest = second.stdout.read()
    assert second.wait() == 0 and "trial 0, of 3" in rest
    found = study().trials
    assert [trial.state for trial in found] == [optuna.trial.TrialState.COMPLETE] * 3
    assert len({trial.params["optimizer.lr"] for trial in found}) == 3
    for folder in sorted(work_folder.glob("X/trial-*")):
        assert [row["epoch"] for row in read_metrics(folder)] == [1, 2, 3]
