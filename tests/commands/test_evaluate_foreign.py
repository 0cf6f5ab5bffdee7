"""Evaluate files of other programs: network and preprocessing come from the file."""

import argparse
import json
import pickle
from dataclasses import fields, replace
from pathlib import Path

import pytest
import timm
import torch
import torch.nn.functional as F
import yaml
from foreign_names import openmmlab_names, paddle_arrays
from safetensors.torch import save_file

from rednet.config import EvaluationConfig, validate
from rednet.data import Preprocessing, eval_transform, open_imagenet

OPTIONS = {"width": 0.25, "layers": [1, 1, 1, 1], "stem": "involution7"}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PIXELS = Preprocessing(224, 0.875, "bilinear", MEAN, STD)
SMALLER = replace(PIXELS, image_size=24)  # than the images


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = timm.create_model("rednet50", **OPTIONS).eval()
    torch.nn.init.normal_(model.fc.weight)
    return model


def save_original(weights, path):
    meta = {"mmcls_version": "0.9.0", "epoch": 130, "CLASSES": ["tench", "goldfish"]}
    content = {"meta": meta, "state_dict": openmmlab_names(weights), "optimizer": {"state": {}}}
    torch.save(content, path)


def save_paddle(weights, path):
    path.write_bytes(pickle.dumps(paddle_arrays(weights), protocol=2))


def save_timm(weights, path):
    args = argparse.Namespace(model="rednet50", lr=0.1)
    torch.save({"epoch": 3, "arch": "rednet50", "state_dict": weights, "args": args}, path)


SAVERS = {
    "original.pth": save_original,
    "RedNet50_pretrained.pdparams": save_paddle,
    "checkpoint.pth.tar": save_timm,
    "weights.pt": torch.save,
    "weights.safetensors": save_file,
}


def expected_loss(model, imagenet, preprocessing=PIXELS):
    source = open_imagenet(imagenet, train=False).val
    transform = eval_transform(preprocessing)
    images = torch.stack([transform(source.load(index)) for index in range(len(source))])
    with torch.no_grad():
        return F.cross_entropy(model(images), torch.tensor(source.targets)).item()


def loss(folder):
    return json.loads((Path(folder) / "evaluation.json").read_text())["loss"]


@pytest.mark.parametrize("name", SAVERS)
def test_a_file_and_the_data_are_enough(name, model, imagenet, evaluate):
    SAVERS[name](model.state_dict(), Path(name))
    data = ["data=imagenet", f"data.root={imagenet}"]
    done = evaluate(f"checkpoint={name}", *data, "output_dir=results")
    assert (done.code, done.err) == (0, "")
    assert loss("results") == pytest.approx(expected_loss(model, imagenet), rel=1e-4)
    used = validate(yaml.safe_load(Path("results/evaluation.yaml").read_text()), EvaluationConfig)
    assert (used.model.name, used.model.options) == ("rednet50", OPTIONS)
    assert Preprocessing(*(getattr(used.data, field.name) for field in fields(PIXELS))) == PIXELS


def test_the_originals_pixels(model, imagenet, evaluate):
    pytest.importorskip("cv2", reason="needs pip install opencv-python-headless")
    save_original(model.state_dict(), Path("original.pth"))
    data = ["data=imagenet", f"data.root={imagenet}", "data.image_size=24"]
    done = evaluate("checkpoint=original.pth", *data, "data.interpolation=opencv", "output_dir=a")
    assert done.code == 0
    expected = expected_loss(model, imagenet, replace(SMALLER, interpolation="opencv"))
    assert loss("a") == pytest.approx(expected, rel=1e-4)
    assert loss("a") != pytest.approx(expected_loss(model, imagenet, SMALLER), rel=1e-4)


def test_a_backbone_has_nothing_to_evaluate(model, imagenet, evaluate):
    weights = {k: v for k, v in model.state_dict().items() if not k.startswith("fc.")}
    torch.save(weights, "backbone.pth")
    error = evaluate("checkpoint=backbone.pth", "data=imagenet", f"data.root={imagenet}").error
    assert error.startswith("checkpoint=backbone.pth: has no classifier")


def test_options_that_contradict_the_file(model, imagenet, evaluate):
    save_original(model.state_dict(), Path("original.pth"))
    data = ["data=imagenet", f"data.root={imagenet}", "checkpoint=original.pth"]
    assert "is for rednet50" in evaluate(*data, "model=rednet26").error
    error = evaluate(*data, "model=rednet50", "model.options.stem=conv7").error
    assert "does not fit this network: " in error
    assert "unexpected (stem.1.conv1.bn.bias, " in error
    assert "of another shape (stem.0.conv.weight (16, 3, 3, 3), not (16, 3, 7, 7))" in error


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("seed: [", "its configuration is damaged"),
        ("text", "its configuration is damaged"),
        ("seed: 3", "its configuration is damaged"),
        ("{seed: 3, data: 5}", "its configuration is damaged"),
        (
            "{seed: 3, data: {val_fraction: much}}",
            "has an invalid seed=3 or data.val_fraction='much'",
        ),
        (
            "{seed: '${oc.env:HOME}', data: {val_fraction: 0.5}}",
            "has an invalid seed='${oc.env:HOME}' or ",
        ),
        ("{seed: 3, data: {val_fraction: 7}}", "has an invalid seed=3 or data.val_fraction=7"),
    ],
)
def test_nonsense_for_a_configuration(config, message, trained, evaluate):
    content = torch.load(trained / "checkpoints" / "last.pt")
    torch.save({**content, "config": config}, "ours.pt")
    assert message in evaluate("checkpoint=ours.pt", "data=fashion_mnist").error


def test_the_configuration_of_another_program(model, imagenet, evaluate):
    torch.save({"state_dict": model.state_dict(), "config": {"seed": "x"}}, "theirs.pt")
    data = ["data=imagenet", f"data.root={imagenet}"]
    assert evaluate("checkpoint=theirs.pt", *data, "output_dir=results").code == 0
