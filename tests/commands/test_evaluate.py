"""The evaluation command: its results and the files that it writes."""

import csv
import hashlib
import json
import shlex
from importlib.metadata import version
from pathlib import Path

import pytest
import timm
import torch
import yaml
from foreign_names import openmmlab_names
from PIL import Image
from safetensors.torch import save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rednet import commands
from rednet.config import EvaluationConfig, to_yaml, validate
from rednet.data import (
    Preprocessing,
    balanced_subset,
    eval_transform,
    imagenet_synsets,
    open_fashion_mnist,
)
from rednet.training.metrics import read_metrics

FASHION = ["data=fashion_mnist", "data.val_samples=10"]
NETWORK = ["model=timm", "model.name=test_resnet"]
IMAGE_SIZE = "data.image_size=32"  # not stored in a bare state dict
SAFE = "a.safetensors"
TINY = ["trainer.device=cpu", "data.num_workers=0", "data.batch_size=4"]  # as the fixture has it


def results(folder="results"):
    return json.loads((Path(folder) / "evaluation.json").read_text())


def rows(folder="results"):
    with (Path(folder) / "per_class.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def last(run):
    return f"checkpoint={run}/checkpoints/last.pt"


def weights(run):
    return torch.load(Path(run) / "checkpoints" / "last.pt", weights_only=True)["state_dict"]


def assert_as_in_training(found, run):
    trained = read_metrics(Path(run))[-1]
    assert (found["top1"], found["top5"]) == (trained["val_top1"], trained["val_top5"])
    assert found["loss"] == pytest.approx(trained["val_loss"], rel=1e-5)


@pytest.mark.nightly
def test_an_optimized_network_has_the_same_results(evaluate, predict, train, trained):
    for optimize in ("false", "true"):
        key = f"trainer.optimize={optimize}"
        done = evaluate(*FASHION, last(trained), key, f"output_dir=run-{optimize}")
        assert (done.code, done.err) == (0, "")
    assert "optimized in " in done.out
    plain, optimized = results("run-false"), results("run-true")
    assert (optimized["top1"], optimized["top5"]) == (plain["top1"], plain["top5"])
    assert optimized["loss"] == pytest.approx(plain["loss"], rel=1e-4)
    Image.new("L", (32, 32)).save("photo.png")
    done = predict(last(trained), "images=photo.png", "trainer.optimize=true")
    assert done.code == 0
    assert "optimized in " in done.out
    done = predict(last(trained), "images=photo.png", "trainer.optimize=true", "features=true")
    assert done.error.startswith("trainer.optimize: has no effect with features=true")
    assert train("trainer.optimize=true").error.startswith("trainer.optimize: ")


@pytest.mark.usefixtures("drawn")
def test_our_checkpoint_needs_only_its_data(evaluate, trained, files_in):
    done = evaluate(*FASHION, last(trained), "output_dir=results")
    assert (done.code, done.err) == (0, "")
    found = results()
    assert (found["model"], found["samples"], found["unreadable"]) == ("test_resnet", 10, [])
    assert_as_in_training(found, trained)
    scores = f"top-1 {found['top1']:.2f} %, top-5 {found['top5']:.2f} %, loss {found['loss']:.4f}"
    assert f"test_resnet  {scores}  (10 images)" in done.out
    assert done.last_line == "per-class table and confusions are in results"
    assert set(files_in(Path("results"))) == {
        "evaluation.json",
        "evaluation.yaml",
        "per_class.csv",
        "confusions.csv",
        "confusion.png",
    }
    with Image.open("results/confusion.png") as image:
        assert min(image.size) > 400


def test_the_table_of_classes(evaluate, trained):
    evaluate(*FASHION, last(trained), "output_dir=results")
    table = rows()
    assert [row["class"] for row in table][:2] == ["T-shirt/top", "Trouser"]
    assert all(row["samples"] == "1" for row in table)
    top1 = sum(float(row["top1"]) for row in table) / 10
    top5 = sum(float(row["top5"]) for row in table) / 10
    assert (top1, top5) == pytest.approx((results()["top1"], results()["top5"]))
    for row in table:
        assert bool(row["most_mistaken_for"]) == (row["top1"] == "0.0")


def test_averaged_weights_come_first(evaluate, train_tiny):
    train_tiny("trainer.ema_decay=0.9", "optimizer.lr=40", "output_dir=run")
    evaluate(*FASHION, last("run"), "output_dir=results")
    assert_as_in_training(results(), "run")
    torch.save(weights("run"), "raw.pt")
    evaluate(*FASHION, *NETWORK, "checkpoint=raw.pt", IMAGE_SIZE, "output_dir=raw")
    assert results("raw")["loss"] != results()["loss"]


def save_safetensors(tensors, path):
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, path)


@pytest.mark.parametrize(("save", "name"), [(torch.save, "a.pth"), (save_safetensors, SAFE)])
def test_a_bare_state_dict_needs_the_networks_name(save, name, evaluate, trained):
    save(weights(trained), name)
    argv = [*FASHION, IMAGE_SIZE, f"checkpoint={name}", "output_dir=results"]
    unnamed = evaluate(*argv).error
    assert unnamed.startswith(f"checkpoint={name} does not say which network it is for: add")
    pixels = ["data.crop_pct=1", "data.interpolation=bilinear"]  # timm's network has its own
    assert evaluate(*argv, *NETWORK, *pixels).code == 0
    assert_as_in_training(results(), trained)


def test_the_original_names_of_a_rednet(evaluate, train):
    small = ["data.image_size=12", "data.train_samples=8", "data.batch_size=4"]
    train("experiment=smoke", *small, "data.val_samples=10", "output_dir=run")
    renamed = openmmlab_names(weights("run"))
    torch.save({"meta": {"epoch": 1}, "state_dict": renamed}, "original.pth")
    options = ["stem=small", "width=0.25", "layers=[1,1,1,1]"]
    network = ["model=rednet26", *(f"model.options.{option}" for option in options)]
    argv = [*FASHION, *network, "data.image_size=12", "checkpoint=original.pth"]
    assert evaluate(*argv, "output_dir=results").code == 0
    assert_as_in_training(results(), "run")


@pytest.mark.parametrize(
    "options",
    [
        ["data.batch_size=1"],
        ["data.batch_size=7", "data.num_workers=2"],
        ["trainer.channels_last=false"],
        ["trainer.deterministic=true"],
        [*NETWORK],
    ],
)
def test_options_that_do_not_change_the_result(options, evaluate, trained):
    assert evaluate(*FASHION, last(trained), *options, "output_dir=results").code == 0
    assert_as_in_training(results(), trained)


def test_half_precision_is_close(evaluate, trained):
    evaluate(*FASHION, last(trained), "trainer.precision=bf16", "output_dir=results")
    assert results()["loss"] == pytest.approx(read_metrics(trained)[-1]["val_loss"], rel=0.1)


def test_explicit_preprocessing_overrides_the_checkpoint(evaluate, trained):
    argv = [*FASHION, last(trained)]
    evaluate(*argv, "data.image_size=40", "data.mean=[0.2]", "output_dir=results")
    config = validate(yaml.safe_load(Path("results/evaluation.yaml").read_text()), EvaluationConfig)
    assert (config.data.image_size, config.data.mean) == (40, [0.2])
    evaluate(*argv, "output_dir=plain")
    config = validate(yaml.safe_load(Path("plain/evaluation.yaml").read_text()), EvaluationConfig)
    assert (config.data.image_size, config.data.mean) == (32, [0.286])
    assert results()["loss"] != results("plain")["loss"]


def test_the_configuration_is_written(evaluate, trained):
    evaluate(*FASHION, last(trained), "output_dir=results")
    text = Path("results/evaluation.yaml").read_text()
    config = validate(yaml.safe_load(text), EvaluationConfig)
    assert to_yaml(config) == text
    assert config.model.name == "test_resnet"
    assert config.checkpoint == f"{trained}/checkpoints/last.pt"


@pytest.mark.parametrize("flat", [False, True])
def test_imagenet_needs_no_training_images(flat, evaluate, imagenet, flatten, save_network):
    if flat:
        flatten(imagenet)
    for path in sorted((imagenet / "train").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (imagenet / "train").rmdir()
    argv = ["data=imagenet", f"data.root={imagenet}", *NETWORK, IMAGE_SIZE]
    done = evaluate(*argv, f"checkpoint={save_network()}", "output_dir=results")
    assert done.code == 0
    seen = {row["class"]: row["samples"] for row in rows() if row["samples"] != "0"}
    assert seen == {"n01443537": "2", "n02123045": "2", "n07753592": "2"}
    assert [row["class"] for row in rows()] == list(imagenet_synsets())


@pytest.fixture
def save_network():
    def save(**options):
        torch.manual_seed(0)
        torch.save(timm.create_model("test_resnet", **options).state_dict(), "weights.pt")
        return "weights.pt"

    return save


def test_the_evaluated_run_is_not_changed(evaluate, train_tiny, files_in):
    train_tiny("output_dir=run")
    before = files_in(Path("run"))
    evaluate(*FASHION, last("run"), "output_dir=run")
    after = files_in(Path("run"))
    assert before.items() <= after.items()
    assert "evaluation.json" in after


def test_results_get_a_new_folder_by_default(evaluate, trained, work_folder):
    done = evaluate(*FASHION, last(trained))
    (folder,) = Path("runs").iterdir()
    assert folder.name.startswith("evaluate-test_resnet-fashion_mnist-2")
    assert done.last_line.endswith(f" {folder}")
    assert [path.name for path in work_folder.iterdir()] == ["runs"]


def test_a_network_that_has_diverged(evaluate, trained):
    tensors = weights(trained)
    tensors["fc.bias"][0] = float("nan")
    torch.save(tensors, "nan.pt")
    done = evaluate(*FASHION, *NETWORK, "checkpoint=nan.pt", IMAGE_SIZE, "output_dir=results")
    assert done.error.startswith("the logits of 10 of 10 images are not finite: the network has")
    assert "loss nan" in done.out
    assert (results()["loss"], results()["nonfinite"]) == (None, 10)


def test_what_is_needed_to_repeat_an_evaluation(evaluate, trained):
    path = trained / "checkpoints" / "last.pt"
    argv = [*TINY, *FASHION, last(trained), "trainer.precision=bf16", "output_dir=a folder"]
    evaluate(*argv[len(TINY) :])
    found = results("a folder")
    assert found["command"] == shlex.join(["python", "-m", "rednet", "evaluate", *argv])
    assert found["checkpoint"] == {
        "path": str(path.resolve()),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "kind": "rednet",
        "ema": False,
    }
    model = timm.create_model("test_resnet", num_classes=10, in_chans=1)
    assert found["parameters"] == sum(weight.numel() for weight in model.parameters())
    assert (found["model"], found["options"]) == ("test_resnet", {})
    assert (found["data"]["name"], found["data"]["classes"]) == ("fashion_mnist", 10)
    assert found["preprocessing"] == {
        "image_size": 32,
        "crop_pct": 1.0,
        "interpolation": "bilinear",
        "mean": [0.286],
        "std": [0.353],
    }
    arithmetic = {name: found[name] for name in ("precision", "device", "processes", "batch_size")}
    assert arithmetic == {"precision": "bf16", "device": "cpu", "processes": 1, "batch_size": 4}
    assert found["versions"]["torch"] == version("torch")
    commands.evaluate([*shlex.split(found.pop("command"))[4:-1], "output_dir=again"])
    again = results("again")
    assert {key: again[key] for key in found} == found


def test_flips_average_the_probabilities_and_are_recorded(evaluate, trained):
    argv = [*FASHION, last(trained), "predictions=true"]
    evaluate(*argv, "output_dir=plain")
    done = evaluate(*argv, "tta=hflip", "output_dir=flipped")
    assert (done.code, results("plain")["tta"], results("flipped")["tta"]) == (0, None, "hflip")
    model = timm.create_model("test_resnet", num_classes=10, in_chans=1).eval()
    model.load_state_dict(weights(trained))
    transform = eval_transform(Preprocessing(32, 1.0, "bilinear", (0.286,), (0.353,)))
    source = balanced_subset(open_fashion_mnist().val, 10)
    images = torch.stack([transform(source.load(index)) for index in range(10)])
    with torch.no_grad():
        expected = (model(images).softmax(1) + model(images.flip(3)).softmax(1)) / 2
    losses = -expected[range(10), source.targets].log()
    assert results("flipped")["loss"] == pytest.approx(losses.mean().item(), rel=1e-4)
    found = [float(row["probability_1"]) for row in predictions("flipped")]
    assert found == pytest.approx(expected.max(1).values.tolist(), rel=1e-4)
    assert found != [float(row["probability_1"]) for row in predictions("plain")]
    assert evaluate(*argv, "tta=true").error.startswith("tta: must be hflip or null, got true")


def test_top5_of_five_classes_is_left_out(evaluate, train_tiny, make_images):
    root = make_images("images", ["cat", "dog", "eel"], 6)
    data = ["data=image_folder", f"data.root={root}", "data.val_samples=null"]
    done = train_tiny(*data, "data.val_fraction=0.5", "output_dir=run")
    assert "top-1" in done.out and "top-5" not in done.out
    assert read_metrics(Path("run"))[-1]["val_top5"] is None
    board = EventAccumulator("run/tensorboard").Reload()
    assert {"val/top1", "best/top1"} == {tag for tag in board.Tags()["scalars"] if "top" in tag}
    done = evaluate(*data, last("run"), "output_dir=results")
    assert "top-1" in done.out and "top-5" not in done.out
    assert results()["top5"] is None
    assert "top5" not in rows()[0]


def predictions(folder="results"):
    with (Path(folder) / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_predictions_have_a_row_for_each_image(evaluate, trained):
    argv = [*FASHION, last(trained), "predictions=true", "data.batch_size=3"]
    evaluate(*argv, "output_dir=results")
    table, names = predictions(), [row["class"] for row in rows()]
    source = balanced_subset(open_fashion_mnist().val, 10)
    assert [row["path"] for row in table] == [source.name_of(index) for index in range(10)]
    assert sorted(row["target"] for row in table) == sorted(names)
    for row in table:
        best = [row[f"class_{rank}"] for rank in range(1, 6)]
        values = [float(row[f"probability_{rank}"]) for rank in range(1, 6)]
        assert len(set(best)) == 5 and set(best) <= set(names)
        assert values == sorted(values, reverse=True) and 0 < sum(values) <= 1.00001
    correct = [row["class_1"] == row["target"] for row in table]
    assert 100 * sum(correct) / 10 == results()["top1"]


def test_no_predictions_by_default_or_of_unreadable_images(evaluate_damaged):
    evaluate_damaged("data.on_unreadable=skip")
    assert not Path("results/predictions.csv").exists()
    evaluate_damaged("data.on_unreadable=skip", "predictions=true", "data.batch_size=1")
    table = predictions()
    names = [*("1.png", "2.png", "3.png"), *("0.png", "1.png", "2.png")]
    assert [Path(row["path"]).name for row in table] == names
    assert list(table[0])[2:] == ["class_1", "probability_1", "class_2", "probability_2"]
    assert all(
        float(row["probability_1"]) + float(row["probability_2"]) == pytest.approx(1, abs=1e-5)
        for row in table
    )


@pytest.fixture
def damaged(make_images):
    """A folder of classes with two files that are no images."""
    root = make_images("images", ["cat", "dog"], 4)
    (root / "cat" / "0.png").write_bytes(b"no image")
    (root / "dog" / "3.png").write_bytes((root / "dog" / "3.png").read_bytes()[:200])
    return root


@pytest.fixture
def evaluate_damaged(evaluate, damaged, save_network):
    data = ["data=image_folder", f"data.root={damaged}", "data.val_fraction=1"]
    network = [*NETWORK, IMAGE_SIZE, f"checkpoint={save_network(num_classes=2)}"]
    return lambda *argv: evaluate(*data, *network, *argv, "output_dir=results")


def test_unreadable_images_are_an_error_after_the_results(evaluate_damaged, damaged):
    error = evaluate_damaged().error
    names = [f"{damaged}/cat/0.png", f"{damaged}/dog/3.png"]
    assert error.startswith("2 images cannot be read: ")
    assert all(name in error for name in names)
    assert [name for name, _ in results()["unreadable"]] == names
    assert [row["samples"] for row in rows()] == ["3", "3"]


def test_unreadable_images_can_be_skipped(evaluate_damaged):
    done = evaluate_damaged("data.on_unreadable=skip")
    assert (done.code, done.err) == (0, "")
    assert "2 images could not be read; listed in evaluation.json" in done.out
    assert results()["samples"] == 6


def test_nothing_readable_at_all(evaluate_damaged, damaged):
    for path in damaged.rglob("*.png"):
        path.write_bytes(b"")
    error = evaluate_damaged("data.on_unreadable=skip").error
    assert error.startswith("8 images cannot be read: ")
    assert not Path("results").exists()
