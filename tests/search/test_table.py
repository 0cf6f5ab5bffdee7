"""The table of several runs."""

import csv
from pathlib import Path

import pytest

from rednet.search.outcomes import Outcome, best_first, best_value
from rednet.search.table import report_table

ROOT = Path("X")


def outcome(name, value, state="complete", reason="", **settings):
    return Outcome(settings or {"a": name}, ROOT / name, state, value, 2, 61.25, reason)


@pytest.mark.parametrize(("metric", "order"), [("val_top1", "dcba"), ("val_loss", "abcd")])
def test_the_best_is_first_and_what_failed_last(metric, order):
    outcomes = [outcome("failed", 9.0, "failed"), outcome("stopped", None, "stopped")]
    outcomes += [outcome(name, value) for name, value in zip("badc", (1, 0, 3, 2), strict=True)]
    found = [each.folder.name for each in best_first(outcomes, metric)]
    assert found == [*order, "stopped", "failed"]


def test_the_best_value_of_a_run():
    assert best_value([None, 1.0, 3.0, 2.0], "val_top1") == 3.0
    assert best_value([None, 1.0, 3.0, 2.0], "train_loss") == 1.0
    assert best_value([None], "val_top1") is None


def test_the_files_have_what_the_screen_has(tmp_path):
    runs = [
        Outcome({"lr": "0.1", "x": "a|b"}, tmp_path / "one", "complete", 50.0, 2, 61.25),
        Outcome({"lr": "9", "x": "\x1b[31m"}, tmp_path / "two", "failed", None, 0, 0.0, "a\nb"),
    ]
    lines = report_table(runs, "val_top1", tmp_path, "sweep")
    assert [" ".join(line.split()) for line in lines[2:4]] == [
        r"| 0.1 | a\|b | 50.00 | 2 | 1 min | complete | one |",
        r"| 9 | \x1b[31m | - | 0 | 0 s | failed | two |",
    ]
    assert lines[4] == "failed: lr=9 x=\\x1b[31m: a\\nb"
    assert [line for line in (tmp_path / "sweep.md").read_text().splitlines() if line] == lines
    with (tmp_path / "sweep.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["lr"], row["top-1"], row["seconds"], row["reason"]) for row in rows] == [
        ("0.1", "50.0", "61.2", ""),
        ("9", "", "0.0", "a\\nb"),
    ]


def test_a_table_without_a_folder_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len(report_table([outcome("one", 1.0)], "val_top1", None, "sweep")) == 3
    assert not list(tmp_path.iterdir())
