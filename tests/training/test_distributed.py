import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from forked_ranks import run_both
from PIL import Image

from rednet.commands import evaluate, predict

WORKER = Path(__file__).with_name("distributed_worker.py")
ROOT = Path(__file__).parents[2]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]


def worker(folder, *modes):
    """Return the code of a process of the worker."""
    return (
        f"import sys; from pathlib import Path; sys.path.insert(0, {str(WORKER.parent)!r})\n"
        f"import {WORKER.stem}; {WORKER.stem}.main(Path({str(folder)!r}), {modes})"
    )


def reports(folder):
    return [json.loads(path.read_text()) for path in sorted(folder.glob("[0-9].json"))]


@pytest.fixture(scope="module")
def runs(commands, tmp_path_factory):
    """The reports by rank of a run in one process and in two, and of a poisoned run in two."""
    one, two = (tmp_path_factory.mktemp(name) for name in ("one", "two"))
    with commands.start(before=worker(one, "curve")) as process:
        assert process.wait() == 0, process.err
    run_both(commands, before=worker(two, "curve", "poison"))
    return reports(one / "curve"), reports(two / "curve"), reports(two / "poison")


def test_two_processes_have_the_loss_curve_of_one(runs):
    """To float64 accuracy, the uneven last steps (3 samples of 16) included."""
    (single,), (first, second), _ = runs
    assert len(single["losses"]) == 8
    assert first["losses"] == pytest.approx(single["losses"], rel=1e-10)
    assert second["losses"] == first["losses"]
    assert first["weights"] == pytest.approx(single["weights"], rel=1e-12)
    assert max(single["losses"]) - min(single["losses"]) > 1e-3


def test_metrics_are_exact_over_all_ranks(runs):
    (single,), (first, second), _ = runs
    assert first["confusion"] == second["confusion"] == single["confusion"]
    assert sum(map(sum, first["confusion"])) == 21
    assert first["val_loss"] == pytest.approx(single["val_loss"], rel=1e-6)


def test_a_non_finite_loss_on_one_rank_is_caught_on_all(runs):
    first, second = runs[-1]
    assert len(first["losses"]) == len(second["losses"]) == 3
    assert "the loss is nan" in first["error"]
    assert first["error"] == second["error"]
    assert first["weights"] == second["weights"]


@pytest.mark.nightly  # at every commit torchrun's agent starts the ranks of ranks/test_elastic.py
def test_the_training_command_under_torchrun(tmp_path):
    folder = tmp_path / "run"
    sizes = ["data.image_size=12", "data.train_samples=64", "data.val_samples=21"]
    command = [*TORCHRUN, str(ROOT / "train.py"), "experiment=smoke", *sizes]
    run = subprocess.run([*command, f"output_dir={folder}"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("checkpoints are in") == 1
    trained = json.loads((folder / "metrics.jsonl").read_text())
    assert trained["global_step"] == 1
    checkpoint = f"checkpoint={folder}/checkpoints/last.pt"
    data = ["data=fashion_mnist", "data.val_samples=21", "trainer.device=cpu"]
    assert evaluate([checkpoint, *data, f"output_dir={tmp_path}/evaluation"]) == 0
    alone = json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())
    assert alone["top1"] == pytest.approx(trained["val_top1"])
    assert alone["loss"] == pytest.approx(trained["val_loss"], rel=1e-5)


def test_predictions_of_two_processes_are_those_of_one(commands, tmp_path):
    """In the order of the source, with a rank that has fewer batches and unreadable images."""
    model = ["model=timm", "model.name=test_resnet"]
    torch.manual_seed(0)
    weights = timm.create_model("test_resnet", num_classes=2).state_dict()
    torch.save(weights, tmp_path / "weights.pt")
    root = tmp_path / "images"
    for name, count in (("cat", 4), ("dog", 5)):
        for index in range(count):
            (root / name).mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng([count, index]).integers(0, 256, (32, 32, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{index}.png")
    (root / "cat" / "1.png").write_bytes(b"no image")
    data = ["data=image_folder", f"data.root={root}", "data.image_size=32", "data.num_workers=0"]
    argv = [f"checkpoint={tmp_path}/weights.pt", *model, *data, "trainer.device=cpu"]
    argv += ["data.batch_size=2", "data.on_unreadable=skip", "predictions=true"]
    assert evaluate([*argv, f"output_dir={tmp_path}/one"]) == 0
    run_both(commands, "evaluate", *argv, f"output_dir={tmp_path}/two")
    one, two = (predictions(tmp_path / name / "predictions.csv") for name in ("one", "two"))
    names = [str(root / "cat" / f"{index}.png") for index in (0, 2, 3)]
    names += [str(root / "dog" / f"{index}.png") for index in range(5)]
    assert [row[0] for row in one] == names
    assert [row[:3] for row in two] == [row[:3] for row in one]
    for alone, shared in zip(one, two, strict=True):
        assert [float(shared[3]), float(shared[5])] == pytest.approx(
            [float(alone[3]), float(alone[5])], rel=1e-4
        )


def predictions(path):
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["path", "target", "class_1", "probability_1", "class_2", "probability_2"]
    return rows


@pytest.mark.nightly
def test_a_prediction_by_two_processes_is_that_of_one(commands, tmp_path):
    """In the order of the stream, with a rank that has fewer images and unreadable ones."""
    torch.manual_seed(0)
    weights = timm.create_model("test_resnet", num_classes=2).state_dict()
    torch.save(weights, tmp_path / "weights.pt")
    root = tmp_path / "images"
    root.mkdir()
    for index in range(7):
        pixels = np.random.default_rng(index).integers(0, 256, (32, 32, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(root / f"{index}.png")
    (root / "1.png").write_bytes(b"no image")
    model = ["model=timm", "model.name=test_resnet", "data.image_size=32", "data.batch_size=2"]
    argv = [f"checkpoint={tmp_path}/weights.pt", *model, f"images={root}", "features=true"]
    argv += ["trainer.device=cpu", "data.num_workers=0"]
    assert predict([*argv, f"output_dir={tmp_path}/one"]) == 0
    out = run_both(commands, "predict", *argv, f"output_dir={tmp_path}/two")
    assert out.count("6 of 7 images; ") == 1
    one, two = ((tmp_path / name / "predictions.jsonl").read_text() for name in ("one", "two"))
    records = [[json.loads(line) for line in text.splitlines()] for text in (one, two)]
    assert [record["path"] for record in records[1]] == [f"{root}/{i}.png" for i in range(7)]
    for alone, shared in zip(*records, strict=True):
        assert alone.get("error") == shared.get("error")
        values = [[p["probability"] for p in r.get("predictions", ())] for r in (alone, shared)]
        assert values[0] == pytest.approx(values[1], rel=1e-4)
    found = [np.load(tmp_path / name / "features.npz") for name in ("one", "two")]
    assert (found[0]["paths"] == found[1]["paths"]).all()
    np.testing.assert_allclose(found[0]["features"], found[1]["features"], rtol=1e-4, atol=1e-6)
