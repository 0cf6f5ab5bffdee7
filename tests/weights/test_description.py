"""What files say about their network, images and classes; invalid values are refused."""

import argparse

import pytest
import torch
from safetensors.torch import save_file

from rednet.errors import InputError
from rednet.weights import read_checkpoint, write_safetensors

IMAGENET = {
    "image_size": 224,
    "crop_pct": 0.875,
    "interpolation": "bilinear",
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
}


def test_timms_description_of_its_network(tiny, writers, tmp_path):
    args = argparse.Namespace(model_kwargs={"stem": "small", "pretrained": True})
    checkpoint = read_checkpoint(writers["timm"](tiny, tmp_path / "a", args=args))
    assert checkpoint.model["options"] == {
        "width": 0.25,
        "layers": [1, 2, 1, 1],
        "stem": "small",
    }
    weights = {"conv1.weight": torch.ones(1)}
    of_resnet = read_checkpoint(writers["timm"](weights, tmp_path / "b", arch="resnet50"))
    assert of_resnet.model == {"name": "resnet50", "options": {}}
    assert of_resnet.state_dict == weights
    unknown = read_checkpoint(writers["timm"](weights, tmp_path / "c", arch="my_own"))
    assert unknown.model is None


def write_released(writers, weights, path, **args):
    return writers["timm"](weights, path, args=argparse.Namespace(**args))


@pytest.mark.parametrize(
    ("args", "changed"),
    [
        ({"img_size": None, "mean": None, "interpolation": "", "crop_pct": None}, {}),
        ({"img_size": 160, "crop_pct": 0.95}, {"image_size": 160, "crop_pct": 0.95}),
        ({"input_size": [3, 96, 96]}, {"image_size": 96}),
        ({"interpolation": "bicubic", "mean": [0.5]}, {"interpolation": "bicubic", "mean": 0.5}),
        ({"std": [0.1, 0.2, 0.3]}, {"std": (0.1, 0.2, 0.3)}),
    ],
)
def test_timms_image_preparation(args, changed, writers, released_weights, tmp_path):
    checkpoint = read_checkpoint(write_released(writers, released_weights, tmp_path / "a", **args))
    if changed.get("mean"):
        changed = {**changed, "mean": (0.5, 0.5, 0.5)}
    assert checkpoint.preprocessing == {**IMAGENET, **changed}


def test_images_that_are_not_square(writers, released_weights, tmp_path):
    path = write_released(writers, released_weights, tmp_path / "a", input_size=(3, 96, 160))
    assert read_checkpoint(path).preprocessing is None


@pytest.mark.parametrize("options", [{5: 3}, {"stem": {1, 2}}, {"stem": torch.ones(1)}, "text"])
def test_invalid_options_of_timm_are_ignored(options, tiny, writers, tmp_path):
    path = write_released(writers, tiny, tmp_path / "a", model_kwargs=options)
    assert read_checkpoint(path).model["options"].keys() == {"width", "layers"}


def test_torchvisions_image_preparation(tiny, tmp_path):
    """Its reference training says how its own evaluation prepares images."""
    args = argparse.Namespace(val_crop_size=176, val_resize_size=200, interpolation="bicubic")
    torch.save({"model": tiny, "args": args}, tmp_path / "checkpoint.pth")
    expected = {**IMAGENET, "image_size": 176, "crop_pct": 0.88, "interpolation": "bicubic"}
    assert read_checkpoint(tmp_path / "checkpoint.pth").preprocessing == expected
    args = argparse.Namespace(val_crop_size=None, val_resize_size=200)
    torch.save({"model": tiny, "args": args}, tmp_path / "checkpoint.pth")
    assert read_checkpoint(tmp_path / "checkpoint.pth").preprocessing is None


def test_the_image_preparation_of_pytorchs_example(tmp_path):
    weights = {"conv1.weight": torch.ones(1)}
    content = {"arch": "resnet18", "state_dict": weights, "best_acc1": torch.tensor(70.0)}
    torch.save(content, tmp_path / "model_best.pth.tar")
    assert read_checkpoint(tmp_path / "model_best.pth.tar").preprocessing == IMAGENET


@pytest.mark.parametrize(
    "meta",
    [{"CLASSES": tuple("abcdefg")}, {"dataset_meta": {"classes": list("abcdefg")}}],
)
def test_openmmlabs_names_of_classes(meta, tiny, writers, tmp_path):
    path = writers["openmmlab"](tiny, tmp_path / "a.pth", meta=meta)
    assert read_checkpoint(path).class_names == list("abcdefg")
    for wrong in ({"CLASSES": ["a"]}, {"CLASSES": None}, {"CLASSES": [1] * 7}, "text"):
        path = writers["openmmlab"](tiny, tmp_path / "b.pth", meta=wrong)
        assert read_checkpoint(path).class_names is None


def test_timms_image_preparation_for_other_classes(tiny, writers, tmp_path):
    path = write_released(writers, tiny, tmp_path / "a", img_size=64, mean=[0.4, 0.4, 0.4])
    expected = {**IMAGENET, "image_size": 64, "mean": (0.4, 0.4, 0.4)}
    assert read_checkpoint(path).preprocessing == expected
    path = write_released(writers, tiny, tmp_path / "b", mean=[0.5], in_chans=1)
    assert read_checkpoint(path).preprocessing is None  # the weights are for three channels


def test_a_checkpoint_of_ours(tiny, tmp_path):
    content = {
        "format": "rednet-2",
        "model": {"name": "rednet26", "options": {"stem": "small", "pretrained": False}},
        "state_dict": tiny,
        "state_dict_ema": {name: tensor + 1 for name, tensor in tiny.items()},
        "preprocessing": {**IMAGENET, "mean": [0.5], "std": [0.2]},
        "class_names": list("abcdefg"),
        "train_state": {"epoch": 3},
    }
    torch.save(content, tmp_path / "last.pt")
    checkpoint = read_checkpoint(tmp_path / "last.pt")
    assert (checkpoint.kind, checkpoint.is_inferred) == ("rednet", False)
    assert checkpoint.model == {"name": "rednet26", "options": {"stem": "small"}}
    assert torch.equal(checkpoint.state_dict["fc.bias"], tiny["fc.bias"] + 1)
    assert checkpoint.preprocessing == {**IMAGENET, "mean": (0.5,), "std": (0.2,)}
    assert checkpoint.class_names == list("abcdefg")
    assert checkpoint.content["train_state"] == {"epoch": 3}


@pytest.mark.parametrize("name", ["rednet-1", "rednet-2"])
def test_formats_of_ours(name, tiny, tmp_path):
    model = {"name": "rednet26", "options": {"stem": "small"}}
    torch.save({"format": name, "model": model, "state_dict": tiny}, tmp_path / "last.pt")
    checkpoint = read_checkpoint(tmp_path / "last.pt")
    assert (checkpoint.kind, checkpoint.model) == ("rednet", model)


@pytest.mark.parametrize("content", [{}, {"state_dict": {"weight": torch.ones(1)}}, {"model": 3}])
def test_a_format_of_a_later_version(content, tmp_path):
    torch.save({"format": "rednet-3", **content}, tmp_path / "last.pt")
    message = r"last\.pt: its format rednet-3 is newer than this rednet: update rednet$"
    with pytest.raises(InputError, match=message):
        read_checkpoint(tmp_path / "last.pt")


@pytest.mark.parametrize("header", [{}, {"rednet": "9.0", "model": "{"}])
def test_a_header_of_a_later_version(header, tmp_path):
    metadata = {"format": "rednet-safetensors-2", **header}
    save_file({"weight": torch.ones(1)}, tmp_path / "a", metadata)
    with pytest.raises(InputError, match=r"a: its format rednet-safetensors-2 is newer than this"):
        read_checkpoint(tmp_path / "a")


INVALID = [
    {"model": {"name": 5, "options": {}}},
    {"model": {"name": "rednet26", "options": 5}},
    {"model": {"name": "rednet26", "options": {5: 3}}},
    {"model": {"name": "rednet26", "options": {"stem": torch.ones(1)}}},
    {"class_names": 5},
    {"class_names": "abcdefg"},
    {"class_names": [1, 2]},
    {"preprocessing": 5},
    {"preprocessing": {}},
    {"preprocessing": {**IMAGENET, "mean": 1, "std": 2}},
    {"preprocessing": {**IMAGENET, "mean": [1.0]}},
    {"preprocessing": {**IMAGENET, "image_size": "large"}},
    {"preprocessing": {**IMAGENET, "more": 1}},
    {"config": 5},
    {"config": {}},
    {"data": "images"},
    {"data": {"name": "image_folder"}},
    {"data": {"name": "image_folder", "train": 54, "val": 6}},
    {"data": {"name": 5, "train": None, "val": None}},
    {"data": {"name": "a", "train": {"fingerprint": 5, "samples": 5}, "val": None}},
    {"data": {"name": "a", "train": None, "val": {"fingerprint": "5", "samples": "5"}}},
    {"metrics": {1, 2}},
    {"metrics": {"val_top1": torch.ones(1)}},
    {"versions": torch.ones(1)},
]


@pytest.mark.parametrize("invalid", INVALID, ids=str)
def test_invalid_values_in_a_checkpoint_of_ours(invalid, tiny, tmp_path):
    model = {"name": "rednet26", "options": {"width": 0.25, "layers": [1, 2, 1, 1]}}
    content = {"format": "rednet-2", "model": model, "state_dict": tiny}
    torch.save(content, tmp_path / "ours.pt")
    write_safetensors(read_checkpoint(tmp_path / "ours.pt"), tmp_path / "out")
    torch.save({**content, **invalid}, tmp_path / "ours.pt")
    with pytest.raises(InputError, match=r"ours\.pt: damaged: its [^\n]*$"):
        read_checkpoint(tmp_path / "ours.pt")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("model", "5"),
        ("model", "{}"),
        ("model", '{"name": "rednet26"}'),
        ("model", '{"name": "rednet26", "options": 5}'),
        ("model", "[" * 100_000),
        ("is_recognised", "3"),
        ("class_names", "5"),
        ("config", "{}"),
    ],
)
def test_invalid_values_in_a_header_of_ours(name, text, tmp_path):
    save_file({"weight": torch.ones(1)}, tmp_path / "a", {"rednet": "1", name: text})
    with pytest.raises(InputError, match=r"a: damaged(: its |, truncated or)[^\n]*$"):
        read_checkpoint(tmp_path / "a")
    save_file({"weight": torch.ones(1)}, tmp_path / "a", {"rednet": "1", name: "null"})
    assert read_checkpoint(tmp_path / "a").model is None


@pytest.mark.parametrize(
    "more", [{"format": "pt", "model": "resnet50"}, {"model": {"name": "rednet26"}, "config": 3}]
)
def test_files_of_other_programs_do_not_name_the_network(more, tmp_path):
    torch.save({**more, "state_dict": {"weight": torch.ones(1)}}, tmp_path / "other.pt")
    assert read_checkpoint(tmp_path / "other.pt").model is None
