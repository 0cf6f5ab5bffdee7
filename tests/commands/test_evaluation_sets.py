"""Networks of ImageNet on other images: a part of the classes, or several labels."""

import csv
import json
from importlib.resources import files
from pathlib import Path

import pytest
import timm
import torch

from rednet.data import imagenet_synsets
from rednet.data.imagenet_sets import counted_synsets

NETWORK = ["model=timm", "model.name=test_resnet", "checkpoint=a.pth", "data.image_size=32"]


@pytest.fixture
def logits_of(work_folder, monkeypatch):
    """Return a function that makes the logits of every image those of a list; others are lower."""
    torch.manual_seed(0)
    network = timm.create_model("test_resnet")
    network.fc.weight.data.zero_()

    def make(*classes):
        network.fc.bias.data.copy_(torch.linspace(0, -1, 1000))
        for rank, index in enumerate(classes):
            network.fc.bias.data[index] = 10 - rank
        torch.save(network.state_dict(), "a.pth")

    return make


def results():
    return json.loads(Path("results/evaluation.json").read_text())


def test_only_the_classes_of_the_set_compete(logits_of, evaluate, make_images):
    synsets = counted_synsets("imagenet_a")
    positions = [imagenet_synsets().index(synset) for synset in synsets]
    assert 0 not in positions
    logits_of(0, positions[3], 1, 2, 3, 4, 5, 7, positions[150])
    root = make_images("a", [synsets[3], synsets[150], synsets[199]], 2)
    done = evaluate(
        *NETWORK, "data=imagenet_a", f"data.root={root}", "predictions=true", "output_dir=results"
    )
    assert (done.code, done.err) == (0, "")
    assert "only the 200 classes of ImageNet-A compete, of 1000 outputs" in done.out
    found = results()
    assert (found["samples"], found["top1"], found["top5"]) == pytest.approx((6, 100 / 3, 200 / 3))
    assert found["data"]["counted_classes"] == list(synsets)
    assert (found["data"]["classes"], found["data"]["outputs"]) == (200, 1000)
    with Path("results/predictions.csv").open(newline="") as file:
        assert {row["class_1"] for row in csv.DictReader(file)} == {synsets[3]}
    with Path("results/per_class.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 200


def test_any_of_the_real_labels_is_right(logits_of, evaluate, make_images, tmp_path):
    text = (files("timm.data") / "_info" / "imagenet_real_labels.json").read_text()
    second, third = json.loads(text)[1:3]
    logits_of(second[1], third[1])
    root = make_images("real/val", ["n01440764"], 3).parent
    for number in range(3):
        path = root / "val/n01440764" / f"{number}.png"
        path.rename(path.with_name(f"ILSVRC2012_val_{number + 1:08d}.png"))
    done = evaluate(*NETWORK, "data=imagenet_real", f"data.root={root}", "output_dir=results")
    assert (done.code, done.err) == (0, "")
    assert "left out, without a ReaL label: 1 image of 3" in done.out
    found = results()
    assert (found["samples"], found["top1"], found["top5"]) == (2, 50, 100)
    assert found["data"]["labels"] == "one or more per image"
    assert found["data"]["counted_classes"] == "all"


def test_one_line_about_what_cannot_be_done(logits_of, evaluate, train, make_images):
    error = train("data=imagenet_r", "data.root=x").error
    assert error == "data: imagenet_r has only images to evaluate with; train on data=imagenet"
    logits_of(0)
    error = evaluate(*NETWORK, "data=imagenet_r").error
    assert error == "data=imagenet_r needs a folder: give data.root=FOLDER"
    error = evaluate(*NETWORK, "data=imagenet_v2", "data.root=x", "data.split=test").error
    assert error.startswith("data.split: has no effect with a data set that has only images to ev")
    root = make_images("few", ["n01443537", "n01498041"])
    torch.save(timm.create_model("test_resnet", num_classes=7).state_dict(), "a.pth")
    error = evaluate(*NETWORK, "data=imagenet_r", f"data.root={root}").error
    assert error.startswith("checkpoint=a.pth: its classifier has 7 classes, the data 1000: eval")
