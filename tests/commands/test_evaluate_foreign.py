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
from PIL import Image
from safetensors.torch import save_file

from rednet.config import EvaluationConfig, validate
from rednet.data import Preprocessing, eval_transform, open_imagenet

OPTIONS = {"width": 0.25, "layers": [1, 1, 1, 1], "stem": "involution7"}
LAYERS = "model.options.layers=[1,1,1,1]"
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
        ("seed: [", "damaged: its config: "),
        ("text", "damaged: its config: "),
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


def test_the_preprocessing_of_a_timm_network(make_images, evaluate):
    """The expected logits are of timm's own transform."""
    root = make_images("images/val", ("ant", "bee", "cow"), 2).parent
    make_images("images/train", ("ant", "bee", "cow"), 2)
    torch.manual_seed(0)
    model = timm.create_model("test_vit", num_classes=3).eval()
    torch.save(model.state_dict(), "vit.pth")
    argv = ["checkpoint=vit.pth", "model=timm", "model.name=test_vit", "data=image_folder"]
    done = evaluate(*argv, f"data.root={root}", "output_dir=a")
    line = "160 px, crop 0.95, bicubic, mean 0.5 0.5 0.5, std 0.5 0.5 0.5"
    assert line in done.out.splitlines()[0]
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    paths = sorted((root / "val").glob("*/*.png"))
    images = torch.stack([transform(Image.open(path)) for path in paths])
    with torch.no_grad():
        expected = F.cross_entropy(model(images), torch.tensor([0, 0, 1, 1, 2, 2])).item()
    assert loss("a") == pytest.approx(expected, rel=1e-4)
    typed = evaluate(*argv, f"data.root={root}", "data.mean=[0.4,0.4,0.4]", "data.crop_pct=1")
    assert "160 px, crop 1, bicubic, mean 0.4 0.4 0.4, std 0.5 0.5 0.5" in typed.out


def test_what_the_tensors_do_not_tell_is_printed(model, imagenet, evaluate):
    small = timm.create_model("rednet50", **{**OPTIONS, "stem": "small"})
    torch.save({"model": small.state_dict(), "model_ema": small.state_dict()}, "small.pth")
    argv = ["checkpoint=small.pth", "data=imagenet", f"data.root={imagenet}", "data.image_size=24"]
    lines = evaluate(*argv).out.splitlines()
    unseen = "act_layer relu, global_pool avg, output_stride 32"
    assert lines[2] == "weights: uses model_ema, averaged over training steps, not model"
    assert lines[3] == f"assumed: stem involution3 rather than small; {unseen}"
    lines = evaluate(*argv, "model.options.stem=small", "model=rednet50", LAYERS).out.splitlines()
    assert lines[3] == f"assumed: {unseen}"


def test_a_file_for_other_channels(model, make_images, evaluate):
    gray = timm.create_model("rednet50", **OPTIONS, num_classes=3, in_chans=1)
    torch.save(gray.state_dict(), "gray.pth")
    root = make_images("images", ("ant", "bee", "cow"))
    argv = ["checkpoint=gray.pth", "data=image_folder", f"data.root={root}", "data.image_size=24"]
    assert evaluate(*argv).error == (
        "checkpoint=gray.pth: takes images with 1 channel, but data.mean and data.std have 3 "
        "numbers: give 1 each"
    )
    assert evaluate(*argv, "data.mean=[0.5]", "data.std=[0.2]").code == 0
