"""The launch of the paper's table: what runs, on what, and for how long."""

import re
from pathlib import Path

import pytest

from rednet.commands import launch_table
from rednet.config import compose
from rednet.launching import table
from rednet.paper.ablations import ablations


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_the_runs_are_those_of_the_table():
    runs = list(table.plan_runs(table.PARTS, [0], 8, Path("runs"), "images"))
    assert len({run.name for run in runs}) == len(runs) == 20
    experiments = {run.overrides[0].removeprefix("experiment=") for run in runs}
    assert experiments == {"paper", *(row.experiment for row in ablations())}
    config = compose("train", runs[-1].overrides)
    global_batch = config.data.batch_size * config.trainer.grad_accum_steps * 8
    assert (global_batch, config.schedule.epochs) == (table.GLOBAL_BATCH, table.EPOCHS)
    assert config.data.root == "images"


def test_a_dry_run_says_for_how_long(capsys):
    Path("runs/table").mkdir(parents=True)
    Path("runs/table/speeds.json").write_text('{"rednet26": 10000, "rednet38": 5000}')
    arguments = ["--dry-run", "--parts", "rednets", "--gpus", "4", "--seeds", "0", "1"]
    assert launch_table(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "10 runs on 4 GPUs each"
    assert lines[1].startswith("    4.7 h  ") and "--nproc-per-node=4" in lines[1]
    assert "trainer.grad_accum_steps=16 output_dir=runs/table/rednet26-seed0" in lines[1]
    assert lines[3].startswith("      ? h  ")
    assert lines[-2] == "6 runs without a measured speed: --measure takes 100 steps"
    assert lines[-1] == "4 runs: 28.1 h one after the other, 9.4 h at once, 112 GPU hours"
    assert launch_table([*arguments, "--slurm"]) == 0
    assert "as an array of 10 jobs, 20 at a time, each up to 24 h" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "speeds", "line"),
    [
        (["--gpus", "3"], "{}", "--gpus 3: 2048 images in batches of 32 need a number of GPUs"),
        (["--dry-run"], "[1]", "runs/table/speeds.json: not a JSON object of images/s by network"),
        (["--dry-run", "shedule.epochs=3"], "{}", "unknown key 'shedule.epochs'"),
        (["--parts", "x"], "{}", "argument --parts: invalid choice: 'x' (choose from 'rednets', "),
    ],
)
def test_mistakes(argv, speeds, line, capsys):
    Path("runs/table").mkdir(parents=True)
    Path("runs/table/speeds.json").write_text(speeds)
    assert launch_table(argv) == 2
    assert capsys.readouterr().err.startswith(f"error: {line}")


@pytest.mark.nightly
def test_it_measures_and_runs(capsys, monkeypatch):
    tiny = ["data=fashion_mnist", "model.options.width=0.25", "model.options.layers=[1,1,1,1]"]
    tiny += ["data.train_samples=2048", "data.batch_size=32", "trainer.device=cpu"]
    tiny += ["schedule.epochs=1", "data.interpolation=bilinear"]
    common = ["--parts", "rednets", "--gpus", "1"]
    assert launch_table([*common, "--measure", "--steps", "1", "--", *tiny]) == 0
    out = capsys.readouterr().out
    assert re.search(r"GPU hours$", out.strip())
    assert "?" not in out
    one = {"rednet26": table.PARTS["rednets"]["rednet26"]}
    monkeypatch.setitem(table.PARTS, "rednets", one)
    assert launch_table([*common, "--", *tiny]) == 0
    assert Path("runs/table/rednet26-seed0/checkpoints/last.pt").exists()
