"""The modes of debug=... on Fashion-MNIST and on a folder of images, and their one-line errors."""

import json

import pytest
import torch
import yaml

from rednet.training.step import TrainStep

FOLDER = ("data=image_folder", "model=timm", "model.name=test_resnet", "schedule.epochs=1")
SMALL = ("trainer.device=cpu", "data.num_workers=0", "data.batch_size=4", "data.image_size=32")


@pytest.fixture(params=["fashion_mnist", "image_folder"])
def train_any(request, train, train_tiny, make_images):
    """Train on either kind of data."""
    if request.param == "fashion_mnist":
        return train_tiny
    root = make_images("images", ["cat", "dog"], 5)
    return lambda *argv: train(*FOLDER, *SMALL, f"data.root={root}", *argv)


def only_folder(path):
    (folder,) = path.iterdir()
    return folder


@pytest.mark.usefixtures("drawn")
def test_fast_runs_every_part(train_any, work_folder):
    finished = train_any("debug=fast", "trainer.ema_decay=0.5", "augment.mixup=0.2")
    assert finished.code == 0, finished
    assert finished.last_line.startswith("debug=fast: ok in ")
    parts = [line.split()[1] for line in finished.out.splitlines() if line.startswith("ok  ")]
    assert parts == ["trained", "resumed", "evaluated", "read", "wrote"]
    folder = only_folder(work_folder / "runs")
    assert folder.name.startswith("debug-fast-test_resnet-")
    assert (folder / "curves.png").exists()
    assert len((folder / "metrics.jsonl").read_text().splitlines()) >= 1


def test_fast_finds_a_checkpoint_that_is_not_what_was_trained(train_tiny, monkeypatch):
    load = TrainStep.load_state_dict

    def forgetful(self, state):
        load(self, state)
        for values in self.optimizer.state.values():
            values["momentum_buffer"].zero_()

    monkeypatch.setattr(TrainStep, "load_state_dict", forgetful)
    finished = train_tiny("debug=fast")
    assert finished.code == 1
    (line,) = finished.err.splitlines()
    assert line.startswith("failed: optimizer state ")
    assert line.endswith("momentum_buffer is another one after the run was resumed")


def test_overfit_reaches_100_percent(train_any, work_folder):
    finished = train_any("debug=overfit", "optimizer.lr=0.05", "optimizer.lr_base_size=null")
    assert finished.code == 0, finished
    assert finished.last_line.startswith("debug=overfit: ok, 100 % of the batch after ")
    rows = (only_folder(work_folder / "runs") / "overfit.csv").read_text().splitlines()
    assert rows[0] == "step,loss,accuracy"
    assert rows[-1].endswith(",100")


def test_overfit_says_that_it_was_not_reached(train_tiny, work_folder):
    finished = train_tiny("debug=overfit", "debug.max_steps=3", "optimizer.lr=1e-9")
    assert finished.code == 1
    (line,) = finished.err.splitlines()
    assert line.startswith("failed: one batch was not learnt by heart in 3 steps: at best ")
    assert "It stands still" in line
    config = yaml.safe_load((only_folder(work_folder / "runs") / "config.yaml").read_text())
    assert config["debug"]["max_steps"] == 3


def test_overfit_keeps_recipe_and_drops_nothing(train_tiny, monkeypatch):
    seen = []
    step = TrainStep.__call__

    def watched(self, batches, lr, counts=()):
        seen.append((lr, batches[0].images.clone()))
        return step(self, batches, lr, counts)

    monkeypatch.setattr(TrainStep, "__call__", watched)
    recipe = ("augment.hflip=0.5", "augment.label_smoothing=0.1", "augment.mixup=0.2", "loss=bce")
    finished = train_tiny(
        *("debug=overfit", "debug.max_steps=2", "schedule=cosine", "optimizer.lr=0.008", *recipe),
        *("optimizer.lr_base_size=8", "schedule.epochs=3", "model.options.drop_rate=0.9"),
    )
    assert "without 1 dropout layer" in finished.out
    assert "lr 0.004, constant" in finished.out
    assert [lr for lr, _ in seen] == [0.004] * len(seen)
    assert all(torch.equal(images, seen[0][1]) for _, images in seen)


def test_profile_writes_trace_and_tables(train_any, work_folder):
    finished = train_any("debug=profile", "debug.steps=1", "debug.warmup_steps=1", "debug.top=40")
    assert finished.code == 0, finished
    folder = only_folder(work_folder / "runs")
    assert json.loads((folder / "trace.json").read_text())["traceEvents"]
    numbers = json.loads((folder / "profile.json").read_text())
    shares = {row["phase"]: row["share %"] for row in numbers["phases"]}
    assert sum(shares.values()) == pytest.approx(100)
    assert all(shares[name] > 0 for name in ("forward", "backward", "optimizer"))
    layers = {row["layer"]: row for row in numbers["layers"]}
    assert layers["layer1.0"]["forward ms"] > 0
    assert layers["layer1.0"]["backward ms"] > 0
    assert finished.err == ""
    assert numbers["peak_memory"]["resident in this process"] > 10**8
    names = [row["operator"] for row in numbers["operators"]]
    assert any("convolution" in name for name in names)
    assert not list(folder.rglob("*.pt"))


def test_nan_without_one(train_any):
    finished = train_any("debug=nan")
    assert finished.code == 0, finished
    assert "debug=nan: ok, every value was finite in 2 steps" in finished.last_line


def test_nan_starts_from_the_run_that_failed_and_leaves_it_alone(train_tiny, files_in, work_folder):
    argv = ("output_dir=run", "schedule.epochs=2", "optimizer.lr=0.01")
    assert train_tiny(*argv, "trainer.max_steps=2").code == 0
    before = files_in(work_folder / "run")
    finished = train_tiny(*argv, "debug=nan", "resume=auto")
    assert finished.code == 0, finished
    assert "resumed after epoch 1 from run/checkpoints/" in finished.out
    after = files_in(work_folder / "run")
    assert {name: after[name] for name in before} == before
    assert all(name.startswith("debug-nan-") for name in after.keys() - before.keys())


def test_nan_names_the_layer_that_a_large_learning_rate_spoils(train_tiny, work_folder):
    finished = train_tiny("debug=nan", "optimizer.lr=1e30", "trainer.clip_grad=null")
    assert finished.code == 1
    (line,) = finished.err.splitlines()
    assert line.startswith("failed: first value that is not finite: forward pass of ")
    assert "while its inputs are finite" in line
    (report,) = work_folder.glob("runs/*/nan.txt")
    assert report.read_text().startswith("step 2 (learning rate ")


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        ("debug=fats", "debug=fats"),
        ("debug.top=null debug.steps=null", "debug.mode: has no value"),
        ("debug=fast debug.max_steps=3", "debug.max_steps: only debug=overfit uses it"),
        ("debug=overfit debug.top=3", "debug.top: only debug=profile uses it"),
        (
            "trainer.find_batch_size=true",
            "data.batch_size: has no effect with trainer.find_batch_size=true, which finds it",
        ),
    ],
)
def test_wrong_settings_have_one_line(argv, line, train_tiny):
    assert line in train_tiny(*argv.split()).error
