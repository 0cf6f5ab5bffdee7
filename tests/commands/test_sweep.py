"""Several runs with one command line."""

import csv
from pathlib import Path

from rednet.training.metrics import read_metrics


def test_each_job_is_a_run_that_the_same_command_finds_again(train_tiny, files_in):
    argv = ["-m", "optimizer.lr=0.05,0.1", "output_dir=X"]
    assert train_tiny(*argv).code == 0
    losses = set()
    for lr in (0.05, 0.1):
        folder = Path(f"X/optimizer.lr-{lr}")
        assert f"\n  lr: {lr}\n" in (folder / "config.yaml").read_text()
        losses |= {line["train_loss"] for line in read_metrics(folder)}
    assert len(losses) == 2
    before = files_in(Path("X"))
    again = train_tiny(*argv)
    assert (again.code, again.out.count("nothing left to do")) == (0, 2)
    results = [line for line in again.out.splitlines() if line.startswith("best top-1")]
    assert [line.rpartition("/")[2] for line in results] == [
        "optimizer.lr-0.05",
        "optimizer.lr-0.1",
    ]
    after = files_in(Path("X"))
    assert {
        name for name in before if "checkpoints" in name and before[name] != after[name]
    } == set()


def test_a_table_ends_a_sweep_and_names_what_failed(train_tiny):
    done = train_tiny("-m", "optimizer.lr=0.05,0.1,1e30", "schedule.epochs=2")
    assert done.code == 2
    (error,) = done.err.splitlines()
    (folder,) = Path("runs").glob("sweep-*")
    with (folder / "sweep.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows] == ["complete", "complete", "failed"]
    scores = [float(row["top-1"]) for row in rows[:2]]
    assert scores == sorted(scores, reverse=True)
    for row in rows[:2]:
        metrics = read_metrics(folder / row["folder"])
        assert float(row["top-1"]) == max(line["val_top1"] for line in metrics)
        assert (row["epochs"], row["reason"]) == ("2", "")
    assert f"error: {rows[2]['reason']}" == error
    table = (folder / "sweep.md").read_text()
    lines = done.out.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("| optimizer.lr"))
    assert lines[start:-1] == [line for line in table.splitlines() if line]
    assert lines[-2] == f"failed: optimizer.lr=1e+30: {rows[2]['reason']}"
    page = ", the page in report.html" if (folder / "report.html").exists() else ""
    assert lines[-1] == f"the table is in {folder / 'sweep.csv'}, sweep.md{page}"


def test_evaluations_of_a_sweep_share_no_folder_either(evaluate, trained):
    checkpoint = f"{trained}/checkpoints/best.pt"
    data = ["data=fashion_mnist", "data.val_samples=10,20", "output_dir=X"]
    assert evaluate(f"checkpoint={checkpoint}", "-m", *data).code == 0
    names = ["data.val_samples-10", "data.val_samples-20"]
    assert sorted(path.parent.name for path in Path("X").rglob("evaluation.json")) == names
