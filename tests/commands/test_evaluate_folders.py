"""Evaluate folders of classes: which images are read, and which output is which class."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import timm
import torch
import torch.nn.functional as F

from rednet.data import Preprocessing, eval_transform, imagenet_synsets, read_image
from rednet.training.metrics import read_metrics

FOLDER = ("data=image_folder", "data.val_samples=null")
NETWORK = ("model=timm", "model.name=test_resnet", "data.image_size=32")
CFG = timm.get_pretrained_cfg("test_resnet")
PIXELS = Preprocessing(32, CFG.crop_pct, CFG.interpolation, CFG.mean, CFG.std)


def results(folder="results"):
    return json.loads((Path(folder) / "evaluation.json").read_text())


def samples_by_class(folder="results"):
    with (Path(folder) / "per_class.csv").open(newline="") as file:
        return {row["class"]: int(row["samples"]) for row in csv.DictReader(file)}


def save_network(classes, name="weights.pth"):
    """Save the bare state dict of a network whose outputs differ much."""
    torch.manual_seed(0)
    model = timm.create_model("test_resnet", num_classes=classes).eval()
    torch.nn.init.normal_(model.get_classifier().weight, std=3)
    torch.save(model.state_dict(), name)
    return model


def loss_of(model, root, targets):
    """Return the loss of a network on a folder, with the output of each class given."""
    files = sorted(Path(root).rglob("*.png"))
    images = torch.stack([eval_transform(PIXELS)(read_image(path)) for path in files])
    with torch.no_grad():
        return F.cross_entropy(
            model(images), torch.tensor([targets[path.parent.name] for path in files])
        ).item()


def test_the_test_images_of_a_training_are_all_evaluated(evaluate, train_tiny, make_images):
    """6 of the 60 were, split as in a training whose images were others."""
    classes = ["ant", "bee", "cat"]
    for half, count in (("train", 4), ("val", 2), ("test", 20)):
        root = make_images(f"good/{half}", classes, count).parent
    train = train_tiny(*FOLDER, f"data.root={root}", "data.train_samples=null", "output_dir=run")
    assert train.code == 0
    best = "checkpoint=run/checkpoints/best.pt"
    done = evaluate(*FOLDER, best, f"data.root={root}/test", "output_dir=results")
    assert f"; 60 of 60 images of {root}/test, 32 px" in done.out
    assert results()["samples"] == 60
    expected = results()["loss"]
    for split, count in (("test", 60), ("val", 6)):
        argv = [best, f"data.root={root}", f"data.split={split}", f"output_dir={split}"]
        assert f"; {count} of {count} images of {root}/{split}" in evaluate(*FOLDER, *argv).out
    assert results("test")["loss"] == expected
    assert results("val")["loss"] == pytest.approx(read_metrics(Path("run"))[-1]["val_loss"])
    assert evaluate(*FOLDER, best, f"data.root={root}", "seed=1").error == (
        f"seed: nothing is split, since {root} has separate splits"
    )


def test_a_folder_is_split_as_in_training_wherever_it_lies(evaluate, train_tiny, make_images):
    """Otherwise training images would be evaluated."""
    root = make_images("images", ["cat", "dog"], 8)
    settings = ["seed=3", "data.val_fraction=0.5", "data.class_order=natural", "optimizer.lr=40"]
    assert train_tiny(*FOLDER, f"data.root={root}", *settings, "output_dir=run").code == 0
    shutil.copytree(root, "copy")
    best = "checkpoint=run/checkpoints/last.pt"
    for name, folder in (("here", root), ("elsewhere", "copy")):
        done = evaluate(*FOLDER, best, f"data.root={folder}", f"output_dir={name}")
        assert " 8 of 16 images of " in done.out
        assert "(validation part, split as in training)" in done.out
        assert "warning" not in done.out
        trained = read_metrics(Path("run"))[-1]
        assert results(name)["top1"] == trained["val_top1"]
        assert results(name)["loss"] == pytest.approx(trained["val_loss"], rel=1e-5)
    typed = ["seed=4", "data.val_fraction=0.25"]
    assert evaluate(*FOLDER, best, f"data.root={root}", *typed, "output_dir=typed").code == 0
    assert results("typed")["samples"] == 4
    data = {key: results("typed")["data"][key] for key in ("split", "seed", "val_fraction", "of")}
    assert data == {"split": "val", "seed": 4, "val_fraction": 0.25, "of": 16}
    make_images("images", ["cat", "dog"], 9)
    done = evaluate(*FOLDER, best, f"data.root={root}", "output_dir=grown")
    assert f" 18 of 18 images of {root}, " in done.out
    assert "\nwarning: training images are among them (8 of 8 looked for); all are " in done.out


@pytest.mark.parametrize("typed", [[], ["seed=4", "data.val_fraction=0.25"], ["data.split=train"]])
def test_an_evaluation_is_repeated_from_its_configuration(typed, evaluate, make_images):
    root = make_images("images", ["cat", "dog"], 8)
    save_network(2)
    assert_repeated(evaluate, root, typed)


def test_an_evaluation_of_a_split_is_repeated_from_its_configuration(evaluate, make_images):
    make_images("images/train", ["cat", "dog"], 3)
    root = make_images("images/val", ["cat", "dog"], 2).parent
    save_network(2)
    assert_repeated(evaluate, root, [])


def assert_repeated(evaluate, root, typed):
    argv = ["checkpoint=weights.pth", *NETWORK, f"data.root={root}", *typed, "output_dir=once"]
    assert evaluate(*FOLDER, *argv).code == 0
    done = evaluate("--config-dir=once", "--config-name=evaluation", "output_dir=again")
    assert (done.code, done.err) == (0, "")
    once, again = results("once"), results("again")
    for key in ("samples", "top1", "loss", "data", "preprocessing"):
        assert again[key] == once[key]


def test_weights_of_another_program_are_evaluated_on_all_images(evaluate, make_images):
    root = make_images("images", ["cat", "dog"])
    model = save_network(2)
    argv = ["checkpoint=weights.pth", *NETWORK, f"data.root={root}", "output_dir=results"]
    done = evaluate(*FOLDER, *argv)
    assert f" 8 of 8 images of {root}, " in done.out
    line = (
        "the checkpoint has no class names: its outputs are taken to be the folders in text order"
    )
    assert line in done.out.splitlines()
    expected = loss_of(model, root, {"cat": 0, "dog": 1})
    assert results()["loss"] == pytest.approx(expected, rel=1e-4)


def test_numbered_folders_and_weights_without_class_names(evaluate, make_images):
    numbers = [str(number) for number in range(1, 13)]
    root = make_images("images", numbers, 1)
    model = save_network(12)
    argv = [*FOLDER, "checkpoint=weights.pth", *NETWORK, f"data.root={root}"]
    assert "give data.class_order=text if output 1 is 10" in evaluate(*argv).error
    for order, ordered in (("text", sorted(numbers)), ("natural", numbers)):
        done = evaluate(*argv, f"data.class_order={order}", f"output_dir={order}")
        assert done.code == 0
        targets = {name: index for index, name in enumerate(ordered)}
        assert results(order)["loss"] == pytest.approx(loss_of(model, root, targets), rel=1e-4)
        assert list(samples_by_class(order)) == ordered
    assert results("text")["loss"] != pytest.approx(results("natural")["loss"], rel=1e-4)


@pytest.mark.nightly
def test_a_training_in_natural_order_names_its_classes(evaluate, train_tiny, make_images):
    numbers = [str(number) for number in range(1, 13)]
    root = make_images("images/val", numbers, 1).parent
    make_images("images/train", numbers, 1)
    argv = [*FOLDER, f"data.root={root}"]
    assert train_tiny(*argv, "data.class_order=natural", "output_dir=run").code == 0
    checkpoint = torch.load("run/checkpoints/last.pt")
    assert checkpoint["class_names"] == numbers
    assert evaluate(*argv, "checkpoint=run/checkpoints/last.pt", "output_dir=results").code == 0
    assert results()["loss"] == pytest.approx(read_metrics(Path("run"))[-1]["val_loss"], rel=1e-5)


def test_some_of_the_classes_of_a_checkpoint(evaluate, train_tiny, make_images):
    root = make_images("three", ["ant", "bee", "cat"])
    assert train_tiny(*FOLDER, f"data.root={root}", "output_dir=run").code == 0
    two = make_images("two", ["ant", "cat"], 3)
    argv = [*FOLDER, "checkpoint=run/checkpoints/last.pt"]
    done = evaluate(*argv, f"data.root={two}", "output_dir=results")
    assert done.out.splitlines()[1] == "3 classes, ant to cat, 2 with images; 3 images each"
    assert "\nthe data has 2 of the checkpoint's 3 classes: ant, cat\n" in done.out
    assert samples_by_class() == {"ant": 3, "bee": 0, "cat": 3}
    four = make_images("four", ["ant", "bee", "cat", "dog"])
    assert evaluate(*argv, f"data.root={four}").error.endswith(
        "last.pt has no class dog; it has 3 classes: ant, bee, cat"
    )


def test_some_folders_of_imagenet(evaluate, imagenet):
    model = save_network(1000)
    weights = ["checkpoint=weights.pth", *NETWORK]
    root = imagenet / "val"
    done = evaluate(*FOLDER, *weights, f"data.root={root}", "output_dir=results")
    assert "\nthe data has 3 of the checkpoint's 1000 classes: n01443537, n02123045, " in done.out
    targets = {synset: index for index, synset in enumerate(imagenet_synsets())}
    assert results()["loss"] == pytest.approx(loss_of(model, root, targets), rel=1e-4)
    evaluate("data=imagenet", *weights, f"data.root={imagenet}", "output_dir=imagenet")
    assert results("imagenet")["loss"] == results()["loss"]
    argv = [*weights, f"data.root={imagenet}", "data.split=train", "output_dir=train"]
    done = evaluate("data=imagenet", *argv)
    assert f" 12 of 12 images of {imagenet}/train, " in done.out
