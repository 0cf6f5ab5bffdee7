"""Accuracies of finished runs: averaged over seeds, with their spread and their recipe."""

import csv
from pathlib import Path

import pytest
import torch

from rednet import commands
from rednet.build.finished_runs import read_run
from rednet.config import compose, to_yaml
from rednet.weights import imagenet_preprocessing

VAL = {"samples": 50_000, "fingerprint": "0" * 32}


def save_run(folder, *overrides, top1=75.0, epoch=130, **changes):
    """Write what the tables read of a run."""
    config = compose("train", ["experiment=paper", "model=rednet26", *overrides])
    content = {
        "format": "rednet-2",
        "model": {"name": config.model.name, "options": config.model.options},
        "state_dict": {"fc.bias": torch.zeros(1000)},
        "preprocessing": imagenet_preprocessing(),
        "class_names": [f"n{index:08d}" for index in range(1000)],
        "data": {"name": "imagenet", "train": None, "val": VAL, "sample": {}},
        "config": to_yaml(config),
        "global_batch": 2048,
        "train_state": {"epoch": epoch},
        "metrics": {"val_top1": top1, "val_top5": 93.0},
    }
    (folder / "checkpoints").mkdir(parents=True)
    torch.save(content | changes, folder / "checkpoints/last.pt")
    return folder


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """The records of the tables of six runs, and what is printed."""
    root = tmp_path_factory.mktemp("work")
    for seed, top1 in enumerate((75.9, 75.7, 76.1)):
        save_run(root / f"runs/rednet26/seed{seed}", f"seed={seed}", top1=top1)
    save_run(root / "runs/short", "schedule.epochs=10", epoch=10, top1=60.0)
    save_run(root / "runs/resnet", "model=resnet26", top1=73.6)
    save_run(root / "runs/running", epoch=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.delenv("IMAGENET_ROOT", raising=False)
        assert commands.paper_tables(["runs=runs", "output_dir=tables"]) == 0
    with (root / "tables/tables.csv").open(newline="") as file:
        records = [row for row in csv.DictReader(file) if row["seeds"]]
    return records, (root / "tables/tables.md").read_text()


def test_runs_of_a_network_are_averaged_over_their_seeds(tables):
    records, text = tables
    row = next(row for row in records if row["source"] == "paper" and row["seeds"] == "0 1 2")
    assert row["network"] == "rednet26"
    assert (row["ours"], row["top1_spread"], row["verdict"]) == ("75.9", "0.2", "reproduced")
    assert row["checkpoint"] == "rednet26/seed0, rednet26/seed1, rednet26/seed2"
    (line,) = (line for line in text.splitlines() if "| 0 1 2" in line)
    assert "0.20" in line and "75.90" in line
    resnet = next(row for row in records if row["checkpoint"] == "resnet")
    assert (resnet["row"], resnet["verdict"]) == ("ResNet-26", "reproduced")
    assert resnet["top1_spread"] == ""


def test_another_recipe_is_another_row_and_not_comparable(tables):
    records, _ = tables
    short = next(row for row in records if row["checkpoint"] == "short")
    assert short["verdict"] == "not comparable"
    assert short["reason"] == "Not trained as published: schedule.epochs 10, not 130."
    assert not any("running" in row["checkpoint"] for row in records)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"epoch": 3}, "not finished, 3 epochs of 130"),
        ({"model": {"name": "rednet26", "options": {"width": 0.5}}}, "no table contains rednet26"),
        ({"class_names": ["a", "b"]}, "tells 2 classes apart, not 1000"),
        ({"train_state": {}}, "checkpoints/last.pt is damaged"),
    ],
)
def test_runs_that_do_not_belong_into_the_tables(changes, line, tmp_path):
    run = save_run(tmp_path / "run", **changes)
    with pytest.raises(ValueError, match=f"^runs=run: {line}"):
        read_run(run, tmp_path)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("none", "no such folder"),
        (".", "has no run; each has a checkpoints/last.pt"),
    ],
)
def test_a_folder_without_runs(name, line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert commands.paper_tables([f"runs={name}"]) == 2
    assert capsys.readouterr().err == f"error: runs={name}: {line}\n"
    assert [*Path().iterdir()] == []
