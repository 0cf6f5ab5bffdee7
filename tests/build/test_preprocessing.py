"""The preprocessing is the user's, else that of the weights, else that of the data."""

from argparse import Namespace
from dataclasses import replace

import pytest
import timm
import torch

from rednet.build.preprocessing import build_preprocessing, preprocessing_of_weights
from rednet.config import Model, compose
from rednet.errors import InputError
from rednet.weights import read_checkpoint

GRAY = {
    "image_size": 28,
    "crop_pct": 1.0,
    "interpolation": "bicubic",
    "mean": (0.3,),
    "std": (0.2,),
}
COLOUR = {**GRAY, "mean": (0.3, 0.4, 0.5), "std": (0.2, 0.2, 0.2)}
CROP = {"crop_pct": 0.8}
IMAGENET = (0.485, 0.456, 0.406)


@pytest.fixture(scope="module")
def data():
    return compose("evaluate", ["data=imagenet"]).data


def test_known_values_replace_the_datas_and_typed_ones_replace_both(data):
    assert build_preprocessing(data).mean == IMAGENET
    assert build_preprocessing(data, COLOUR).image_size == 28
    typed = build_preprocessing(replace(data, image_size=64), COLOUR, ["data.image_size", "data"])
    assert (typed.image_size, typed.crop_pct, typed.mean) == (64, 1.0, (0.3, 0.4, 0.5))
    assert build_preprocessing(data, {"crop_pct": 0.5}).interpolation == "bilinear"


def test_mean_and_std_are_for_the_channels_of_the_network(data):
    assert build_preprocessing(data, GRAY).in_chans == 1
    assert build_preprocessing(data, GRAY, in_chans=1).mean == (0.3,)
    followed = build_preprocessing(data, GRAY, in_chans=3)
    assert (followed.mean, followed.image_size) == (IMAGENET, 28)
    gray = replace(data, mean=[0.5], std=[0.5])
    assert build_preprocessing(gray, COLOUR, ["data.mean"]).std == (0.5,)
    assert build_preprocessing(gray, COLOUR, in_chans=1).mean == (0.5,)
    with pytest.raises(InputError, match="wrong lengths"):
        build_preprocessing(gray, {"mean": (0.5,) * 3})


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("vit_tiny_patch16_224", {}, (224, 0.9, "bicubic", (0.5,) * 3)),
        ("vit_tiny_patch16_224", {"img_size": 96}, (96, 0.9, "bicubic", (0.5,) * 3)),
        ("resnet18", {}, (224, 0.95, "bicubic", IMAGENET)),
        ("resnet18.tv_in1k", {}, (224, 0.875, "bilinear", IMAGENET)),
        ("resnet18", {"pretrained_cfg": "tv_in1k"}, (224, 0.875, "bilinear", IMAGENET)),
        (
            "resnet18",
            {"pretrained_cfg_overlay": {"crop_pct": 0.8}},
            (224, 0.8, "bicubic", IMAGENET),
        ),
    ],
)
def test_timm_knows_the_preprocessing_of_its_networks(name, options, expected):
    known, notes = preprocessing_of_weights(None, Model(name=name, options=options))
    names = ("image_size", "crop_pct", "interpolation", "mean")
    assert (tuple(known[key] for key in names), notes) == (expected, [])
    model = timm.create_model(name, **{k: v for k, v in options.items() if k != "img_size"})
    assert timm.data.resolve_model_data_config(model)["mean"] == known["mean"]


def test_what_timm_knows_and_cannot_be_followed_is_said():
    overlay = {"crop_mode": "squash", "input_size": (3, 96, 64), "interpolation": "random"}
    model = Model(name="resnet18", options={"pretrained_cfg_overlay": overlay})
    known, notes = preprocessing_of_weights(None, model)
    assert set(known) == {"crop_pct", "mean", "std"}
    assert notes == [
        "warning: resnet18 is for images of 96x64; here they are square",
        "warning: resnet18 is for interpolation=random",
        "warning: resnet18 is for crop_mode=squash; here it is center",
    ]


def test_networks_of_which_nothing_is_known():
    assert preprocessing_of_weights(None, Model(name="no_such_network")) == ({}, [])
    assert preprocessing_of_weights(None, Model(name="rednet26")) == ({}, [])


def test_a_file_of_timms_training_says_more_than_its_network(tmp_path):
    weights = timm.create_model("test_resnet", num_classes=3).state_dict()
    content = {"arch": "test_resnet", "state_dict": weights}
    torch.save({**content, "args": Namespace(img_size=96, mean=[0.1, 0.2, 0.3])}, tmp_path / "a")
    checkpoint = read_checkpoint(tmp_path / "a")
    known, _ = preprocessing_of_weights(checkpoint, Model(name="test_resnet"))
    assert (known["image_size"], known["mean"], known["crop_pct"]) == (96, (0.1, 0.2, 0.3), 0.95)
