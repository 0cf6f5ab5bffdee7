"""python train.py search=optuna."""

import csv
import os
import shlex
import signal
import sys
from pathlib import Path

import pytest

from rednet.config import compose
from rednet.training.metrics import read_metrics

optuna = pytest.importorskip("optuna", reason='needs pip install "rednet[search]"')

SEARCH = (
    "search=optuna",
    "search.trials=2",
    "output_dir=X",
    "search.space.optimizer.lr=log(0.01,1)",
)


def table():
    with Path("X/search.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_search_ends_with_a_table_and_the_best_command(train_tiny):
    done = train_tiny(*SEARCH, "search.space.optimizer=choice(sgd,adamw)")
    assert (done.code, done.err) == (0, "")
    rows = table()
    assert sorted(row["folder"] for row in rows) == ["trial-0000", "trial-0001"]
    assert float(rows[0]["top-1"]) >= float(rows[1]["top-1"])
    for row in rows:
        folder = Path("X", row["folder"])
        assert float(row["top-1"]) == read_metrics(folder)[0]["val_top1"]
        config = (folder / "config.yaml").read_text()
        assert f"  lr: {row['optimizer.lr']}\n" in config and "search: null\n" in config
        assert (folder / "checkpoints/last.pt").exists()
    figures = {path.stem.partition("-")[2] for path in Path("X").glob("search-*.png")}
    assert figures >= {"history", "curves"}
    if Path("X/report.html").exists():  # its packages are an extra
        assert "table, figures and report.html are in X" in done.out
    words = shlex.split(done.last_line.removeprefix("to train the best longer: "))
    assert words[:2] == ["python", "train.py"] and words.pop() == "schedule.epochs=..."
    best = compose("train", words[2:])
    assert (best.search, best.optimizer.lr) == (None, float(rows[0]["optimizer.lr"]))
    # Where nothing changes, a trial is an ordinary run that the same search leaves alone.
    again = train_tiny(*SEARCH, "search.space.optimizer=choice(sgd,adamw)")
    assert again.code == 0 and "trial 1" not in again.out
    assert table() == rows
    other = train_tiny(*SEARCH, "search.metric=val_loss").err.splitlines()
    assert other[0].startswith("error: output_dir=X holds a search with other settings;")
    assert "error: search.metric: val_top1 there, val_loss here" in other


def test_a_search_goes_on_with_the_trial_that_was_stopped(train_tiny, monkeypatch):
    from rednet.search.trial import Trial

    monitor = Trial.monitor

    def stop_once(self, metrics):
        if (self.number, metrics.epoch) == (0, 1) and not Path("stopped").touch():
            monkeypatch.setattr(Trial, "monitor", monitor)
            os.kill(os.getpid(), signal.SIGTERM)
        return monitor(self, metrics)

    monkeypatch.setattr(Trial, "monitor", stop_once)
    argv = [*SEARCH, "search.trials=1", "schedule.epochs=2"]
    stopped = train_tiny(*argv)
    assert stopped.code == 143
    assert stopped.err.endswith("the same command with output_dir=X goes on with the search\n")
    assert "resumed after" in train_tiny(*argv).out
    (row,) = table()
    assert (row["state"], row["epochs"]) == ("complete", "2")


@pytest.mark.nightly
def test_a_pruned_trial_is_a_run_that_can_go_on(train_tiny, monkeypatch):
    pruner = optuna.pruners.MedianPruner
    monkeypatch.setattr(pruner, "prune", lambda self, study, trial: trial.number == 1)
    done = train_tiny(*SEARCH, "schedule.epochs=2")
    assert "pruned after epoch 1 by search.pruner=median" in done.out
    pruned = next(row for row in table() if row["state"] == "pruned")
    assert (pruned["folder"], pruned["epochs"]) == ("trial-0001", "1")
    lr = f"optimizer.lr={pruned['optimizer.lr']}"
    longer = train_tiny(lr, "schedule.epochs=2", "output_dir=X/trial-0001")
    assert longer.code == 0 and "resumed after epoch 1" in longer.out
    assert len(read_metrics(Path("X/trial-0001"))) == 2


def test_what_fails_every_trial_ends_the_search(train_tiny):
    argv = ["search.space.optimizer.lr=interval(1e29,1e30)", "search.trials=9"]
    done = train_tiny(*SEARCH[:3], *argv)
    assert done.code == 2 and len(done.err.splitlines()) == 4
    assert [row["state"] for row in table()] == ["failed"] * 3
    assert all(row["reason"] for row in table())
    assert done.err.splitlines()[-1].startswith("error: no trial was completed;")


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["search.trials=3"], "search.trials: needs search=optuna"),
        (["search=optuna"], "search.space: has no key, e.g. search.space.optimizer.lr=..."),
        (
            ["search=optuna", "search.space.lr=log(1,2)"],
            "search.space.lr: unknown key 'lr': did you",
        ),
        ([*SEARCH, "search.pruner=medain"], "search.pruner: must be median, hyperband or none"),
        ([*SEARCH, "optimizer.lr=1"], "search.space.optimizer.lr: is also given on the command"),
        ([*SEARCH, "search.space.seed=interval(0,9)"], "search.space.seed: must be a whole number"),
        ([*SEARCH, "search.space.loss=a,b"], "search.space.loss: unknown choice 'loss=a'"),
        ([*SEARCH, "search.space.schedule.gamma=0.1,0.5"], "search.space.schedule.gamma: only"),
        ([*SEARCH, "search.space.output_dir=a,b"], "search.space.output_dir: cannot be searched"),
        ([*SEARCH, "-m", "seed=1,2"], "search: one search is one command, without --multirun"),
    ],
)
def test_mistakes_are_found_before_anything_runs(train_tiny, argv, line):
    done = train_tiny(*argv)
    assert done.code == 2 and done.err.startswith(f"error: {line}")
    assert not Path("X").exists()


def test_without_optuna_a_line_says_what_to_install(train_tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    line = 'search=optuna needs optuna: pip install "rednet[search]"'
    assert train_tiny(*SEARCH).error == line


def test_several_processes_of_one_trial_are_refused(train_tiny, monkeypatch):
    monkeypatch.setattr("rednet.commands.search.has_other_ranks", lambda: True)
    assert "instead of torchrun start the same command" in train_tiny(*SEARCH).error
