"""What the training command does, and what it leaves behind."""

import re
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import timm
import torch
import yaml
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rednet.config import CONFIGS, compose, to_yaml, validate
from rednet.data import imagenet_synsets
from rednet.training.metrics import read_metrics

EXPERIMENTS = sorted(path.stem for path in (CONFIGS / "experiment").glob("*.yaml"))
METRICS = [
    *("epoch", "global_step", "lr", "train_loss", "val_loss", "val_top1", "val_top5"),
    *("images_per_second", "seconds"),
]
PREPROCESSING = ["image_size", "crop_pct", "interpolation", "mean", "std"]
NAMES = ["last.pt", "best.pt"]
SMALL = ["data.batch_size=4", "data.num_workers=0", "data.train_samples=8", "data.val_samples=4"]


def load(path):
    return torch.load(path, weights_only=True)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_runs_one_step(experiment, train, imagenet, trained):
    argv = [f"experiment={experiment}", *SMALL, "trainer.max_steps=1", "trainer.device=cpu"]
    if experiment in ("finetune", "cifar10"):
        argv += [f"data.root={imagenet}"]
    if experiment == "finetune":
        argv += [f"checkpoint={trained}/checkpoints/best.pt"]
    if compose("train", argv).data.name == "imagenet":
        argv += [f"data.root={imagenet}", "data.image_size=32"]
        argv += ["model=rednet26", "model.options.width=0.25"]
    done = train(*argv, "output_dir=run")
    assert (done.code, done.err) == (0, "")
    (line,) = read_metrics(Path("run"))
    assert line["global_step"] == 1
    assert line["train_loss"] > 0


def test_the_papers_learning_rate_is_scaled_and_said(train, imagenet):
    options = ["model=rednet26", "model.options.width=0.25", "data.image_size=32"]
    where = [f"data.root={imagenet}", "trainer.device=cpu", "output_dir=run"]
    done = train("experiment=paper", *options, *SMALL, *where, "trainer.max_steps=2")
    assert "lr 0.0015625 = 0.8 x 4 / 2048 at global batch 4; 130 epochs of 2 steps" in done.out
    first = 0.8 * 4 / 2048 * 0.25
    assert read_metrics(Path("run"))[0]["lr"] == pytest.approx(first * (1 + 3 / 10))


def test_the_papers_recipe_needs_opencv_unless_another_filter_is_typed(
    train, imagenet, monkeypatch
):
    monkeypatch.setitem(sys.modules, "cv2", None)
    options = ["model=rednet26", "model.options.width=0.25", "data.image_size=32", *SMALL]
    where = [f"data.root={imagenet}", "trainer.device=cpu", "trainer.max_steps=1"]
    error = train("experiment=paper", *options, *where, "output_dir=a").error
    assert "pip install opencv-python-headless" in error
    assert not Path("a/checkpoints").exists()
    typed = train("experiment=paper", *options, *where, "data.interpolation=bilinear")
    assert typed.code == 0


JSON_FILES = ("index", "confusion")


def test_a_run_leaves_these_files_and_no_others(trained, files_in):
    files = {name for name in files_in(trained) if not name.startswith("code-")}
    (board,) = (name for name in files if name.startswith("tensorboard/events.out."))
    kept = {load(trained / "checkpoints" / name)["metrics"]["epoch"] for name in NAMES}
    mistakes = {name for name in files if re.match(r"mistakes/epoch-\d{4}/\d\d\.jpg$", name)}
    assert mistakes
    assert files - mistakes == {
        board,
        *(f"mistakes/epoch-{epoch:04d}/{name}.json" for epoch in kept for name in JSON_FILES),
        *(f"checkpoints/{name}" for name in NAMES),
        *(f"checkpoints/epoch-{epoch:04d}.pt" for epoch in kept),
        *("config.yaml", "curves.png", "metrics.jsonl", "provenance.jsonl"),
    }
    with Image.open(trained / "curves.png") as image:
        assert image.width > 1000
        assert image.info["Title"] == f"test_resnet on fashion_mnist: {trained.name}"


def test_metrics_have_a_line_for_each_epoch(trained):
    lines = read_metrics(trained)
    assert [list(line) for line in lines] == [METRICS, METRICS]
    assert [(line["epoch"], line["global_step"]) for line in lines] == [(1, 2), (2, 4)]
    assert all(0 <= line["val_top1"] <= line["val_top5"] <= 100 for line in lines)


def test_tensorboard_has_the_curves(trained):
    board = EventAccumulator(str(trained / "tensorboard")).Reload()
    assert {"train/loss", "train/lr", "train/grad_norm", "val/loss", "val/top1"} <= {
        *board.Tags()["scalars"]
    }
    assert [point.step for point in board.Scalars("val/top1")] == [2, 4]


def test_the_configuration_of_a_run_can_be_run_again(trained):
    text = (trained / "config.yaml").read_text()
    config = validate(yaml.safe_load(text))
    assert to_yaml(config) == text
    assert (config.model.name, config.data.train_samples) == ("test_resnet", 8)


def test_what_a_checkpoint_holds(trained):
    checkpoint = load(trained / "checkpoints" / "last.pt")
    assert checkpoint.keys() == {
        *("format", "model", "state_dict", "preprocessing", "class_names", "config"),
        *("data", "checked", "class_weights", "global_batch", "world_size", "metrics"),
        *("versions", "train_state"),
    }
    assert checkpoint["model"] == {"name": "test_resnet", "options": {}}
    assert list(checkpoint["preprocessing"]) == PREPROCESSING
    assert checkpoint["class_names"][0] == "T-shirt/top"
    assert checkpoint["data"]["name"] == "fashion_mnist"
    halves = (checkpoint["data"][half]["samples"] for half in ("train", "val"))
    assert tuple(halves) == (10_000, 2_000)  # all that there are, though the run had 8 and 10
    assert checkpoint["config"] == (trained / "config.yaml").read_text()
    assert checkpoint["metrics"] == read_metrics(trained)[-1]
    assert checkpoint["versions"]["torch"] == version("torch")
    assert {"optimizer", "scaler", "epoch", "global_step", "nonfinite", "log"} <= checkpoint[
        "train_state"
    ].keys()


def test_best_is_the_epoch_with_the_highest_top1(trained):
    scores = [line["val_top1"] for line in read_metrics(trained)]
    best = load(trained / "checkpoints" / "best.pt")
    assert best["metrics"]["epoch"] == 1 + scores.index(max(scores))
    assert load(trained / "checkpoints" / "last.pt")["metrics"]["epoch"] == 2


def test_timm_reads_a_checkpoint_averaged_weights_first(train_tiny):
    assert train_tiny("trainer.ema_decay=0.9", "output_dir=run").code == 0
    checkpoint = load("run/checkpoints/last.pt")
    weights = timm.models.load_state_dict("run/checkpoints/last.pt")
    timm.create_model("test_resnet", num_classes=10, in_chans=1).load_state_dict(weights)
    averaged = checkpoint["state_dict_ema"]
    assert all(torch.equal(weights[key], averaged[key]) for key in averaged)
    assert not torch.equal(averaged["fc.weight"], checkpoint["state_dict"]["fc.weight"])


def test_the_last_line_says_where_and_nothing_else_is_written(train_tiny, work_folder):
    first, second = train_tiny(), train_tiny()
    where = r"runs/test_resnet-fashion_mnist-\d{8}-\d{6}(-\d)?"
    pattern = rf"best top-1 \d+\.\d\d %; log, curves and checkpoints are in ({where})"
    folders = [re.fullmatch(pattern, done.last_line)[1] for done in (first, second)]
    assert [path.name for path in work_folder.iterdir()] == ["runs"]
    assert sorted(str(path) for path in Path("runs").iterdir()) == sorted(folders)
    assert len(set(folders)) == 2


def test_a_run_says_what_it_trains(train_tiny):
    lines = train_tiny("trainer.log_every=1", "data.train_samples=10").out.splitlines()
    assert lines[:2] == [
        "10 classes, T-shirt/top to Ankle boot; 1 training image each",
        "training, validation and test images from the package",
    ]
    assert lines[2:5] == [
        "network    test_resnet: 0.37 M parameters",
        "data       fashion_mnist: 10 training and 10 validation images, 10 classes",
        "device     cpu, fp32",
    ]
    assert lines[5].startswith("folder     runs/test_resnet-fashion_mnist-")
    lr = "lr 0.0015625 = 0.8 x 4 / 2048 at global batch 4"
    assert lines[6] == f"schedule   {lr}; 1 epoch of 3 steps"
    assert len(lines) == 12
    rate = r"[\d.]+ images/s(, \d+ % waiting for data)?  \d\d:\d\d left"
    for line in lines[7:10]:
        assert re.fullmatch(rf"epoch 1/1  loss \d\.\d{{4}}  norm \d+\.\d\d  {rate}", line)
    assert re.fullmatch(r"epoch 1  lr .*  train loss .*  top-1 .*  images/s [\d.]+ .*", lines[10])


def test_a_run_says_how_long_it_will_take_once_that_is_known(train_tiny):
    done = train_tiny("data.train_samples=48", "schedule.epochs=2", "output_dir=run")
    found = [line for line in done.out.splitlines() if line.startswith("duration ")]
    pattern = (
        r"duration   about \d+ s from here: [\d.]+ images/s, \d+ % of the time waiting for data"
    )
    assert len(found) == 1 and re.fullmatch(pattern, found[0])
    found = [line for line in done.out.splitlines() if line.startswith("input ")]
    assert len(found) == 1 and re.match(r"input      the (network|loader) is the limit", found[0])


@pytest.mark.parametrize("flat", [False, True])
def test_imagenet_labels_are_the_standard_positions(flat, train, imagenet, flatten):
    if flat:
        flatten(imagenet)
    argv = ["model=timm", "model.name=test_resnet", "data=imagenet", f"data.root={imagenet}"]
    size = ["data.image_size=32", "data.batch_size=4", "data.num_workers=0", "schedule.epochs=5"]
    done = train(*argv, *size, "trainer.device=cpu", "trainer.max_steps=1", "output_dir=run")
    assert "12 training and 6 validation images, 1000 classes" in done.out
    checkpoint = load("run/checkpoints/last.pt")
    assert checkpoint["class_names"] == list(imagenet_synsets())
    assert checkpoint["state_dict"]["fc.weight"].shape[0] == 1000


def test_imagenet_is_found_by_the_environment(train, imagenet, monkeypatch):
    monkeypatch.setenv("IMAGENET_ROOT", str(imagenet))
    argv = ["model=timm", "model.name=test_resnet", "data.image_size=32", *SMALL]
    done = train(*argv, "trainer.device=cpu", "trainer.max_steps=1", "output_dir=run")
    assert done.code == 0
    assert "imagenet: 8 training" in done.out


@pytest.mark.parametrize("has_val", [False, True])
def test_any_folder_of_classes(has_val, train_tiny, make_images):
    root = make_images("images/train" if has_val else "images", ["cat", "dog"], 5)
    if has_val:
        root = make_images("images/val", ["cat", "dog"], 3).parent
    sizes = ["data.train_samples=null", "data.val_samples=null"]
    done = train_tiny("data=image_folder", f"data.root={root}", *sizes, "output_dir=run")
    counts = "10 training and 6" if has_val else "8 training and 2"
    assert f"image_folder: {counts} validation images, 2 classes" in done.out
    checkpoint = load("run/checkpoints/last.pt")
    assert checkpoint["class_names"] == ["cat", "dog"]
    assert checkpoint["state_dict"]["fc.weight"].shape[0] == 2
    assert checkpoint["state_dict"]["conv1.0.weight"].shape[1] == 3
