"""Load weights of any kind through `timm.create_model`."""

import pickle

import pytest
import timm
import torch
from foreign_names import openmmlab_names, paddle_arrays
from safetensors.torch import save_file
from timm.data import resolve_model_data_config

from rednet.errors import InputError
from rednet.registry import checkpoint_filter_fn


@pytest.fixture
def original_file(make_tiny, tmp_path):
    """Return a function that writes a network's weights as the original repository does."""

    def write(num_classes=1000, **options):
        model = make_tiny(num_classes=num_classes, **options).eval()
        prefixed = openmmlab_names(model.state_dict())
        path = tmp_path / "rednet26-4948f75f.pth"
        meta = {"mmcls_version": "0.9.0", "epoch": 130, "CLASSES": ["tench", "goldfish"]}
        torch.save({"meta": meta, "state_dict": prefixed, "optimizer": {"state": {}}}, path)
        return model, path

    return write


def load(path, name="rednet26", overlay=None, **options):
    options = {"layers": (1, 2, 1, 1), **options}
    overlay = {"file": str(path), **(overlay or {})}
    return timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, **options)


OPTIONS = [
    {},
    {"stem": "involution7"},
    {"stem": "conv7", "kernel_size": 5},
    {"generator": "linear", "group_channels": 8},
    {"involution_stages": [3]},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("given", [False, True])
def test_options_known_from_the_file_need_not_be_given(given, options, original_file, images):
    model, path = original_file(**options)
    loaded = load(path, **(options if given else {})).eval()
    assert torch.equal(loaded(images()), model(images()))


def write_safetensors(weights, path):
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, path)


def write_paddle(weights, path):
    path.write_bytes(pickle.dumps(paddle_arrays(weights), 2))


def write_ours(weights, path):
    model = {"name": "rednet26", "options": {"width": 0.25, "layers": [1, 2, 1, 1]}}
    torch.save({"format": "rednet-2", "model": model, "state_dict": weights}, path)


@pytest.mark.parametrize("write", [torch.save, write_safetensors, write_paddle, write_ours])
@pytest.mark.parametrize("features_only", [False, True])
def test_every_kind_of_file(features_only, write, make_tiny, images, tmp_path):
    model = make_tiny(num_classes=1000).eval()
    write(model.state_dict(), tmp_path / "weights")
    loaded = load(tmp_path / "weights", features_only=features_only).eval()
    expected = model.forward_intermediates(images(), intermediates_only=True)
    if not features_only:
        loaded, expected = lambda x, run=loaded: [run(x)], [model(images())]
    assert all(map(torch.equal, loaded(images()), expected))


def test_another_number_of_classes(original_file, images):
    model, path = original_file()
    loaded = load(path, num_classes=10).eval()
    assert loaded(images()).shape == (2, 10)
    assert torch.equal(loaded.forward_features(images()), model.forward_features(images()))
    assert loaded.fc.weight.std().item() == pytest.approx(0.01, rel=0.1)


def test_without_classifier(original_file, images):
    model, path = original_file()
    loaded = load(path, num_classes=0).eval()
    expected = model.forward_head(model.forward_features(images()), pre_logits=True)
    assert torch.equal(loaded(images()), expected)


@pytest.mark.parametrize("overlay", [{}, {"num_classes": 10}])
def test_a_file_of_ten_classes(overlay, original_file, images):
    model, path = original_file(num_classes=10)
    loaded = load(path, overlay=overlay).eval()
    assert torch.equal(loaded(images()), model(images()))
    assert loaded.pretrained_cfg["num_classes"] == 10
    fresh = load(path, overlay=overlay, num_classes=1000)
    assert fresh.num_classes == 1000
    assert torch.equal(fresh.layer1[0].conv1.weight, model.layer1[0].conv1.weight)


def test_classes_that_the_file_does_not_have(original_file):
    _, path = original_file(num_classes=10)
    with pytest.raises(InputError, match=r"2 of another shape \(fc.bias \(10,\), not \(1000,\)"):
        load(path, overlay={"num_classes": 1000})


def test_gray_images(original_file, images):
    model, path = original_file()
    loaded = load(path, in_chans=1).eval().double()
    gray = images(channels=1).double()
    as_colour = model.double()(gray.expand(-1, 3, -1, -1))
    error = (loaded(gray) - as_colour).abs().max()
    assert error < 1e-4 * as_colour.abs().max()


def test_a_file_for_gray_images(original_file, images):
    model, path = original_file(in_chans=1)
    loaded = load(path).eval()
    assert torch.equal(loaded(images(channels=1)), model(images(channels=1)))
    assert load(path, in_chans=3).in_chans == 3


def test_features_of_the_originals_file(original_file, images):
    model, path = original_file()
    features = load(path, features_only=True, out_indices=(2, 4)).eval()(images())
    expected = model.forward_intermediates(images(), [2, 4], intermediates_only=True)
    assert all(map(torch.equal, features, expected))


def test_a_backbone_without_classifier(original_file, images):
    model, path = original_file(num_classes=0)
    features = load(path, features_only=True).eval()(images())
    assert torch.equal(features[-1], model.forward_features(images()))
    counted = load(path, features_only=True, num_classes=1000).eval()(images())
    assert torch.equal(counted[-1], features[-1])
    assert torch.equal(load(path, num_classes=0).eval()(images()), model(images()))
    assert load(path, num_classes=10).num_classes == 10
    with pytest.raises(InputError, match=r"has no classifier: pass features_only=True, num_c"):
        load(path)


@pytest.mark.parametrize("num_classes", [0, 10, 1000])
def test_weights_that_do_not_fit_are_refused(num_classes, original_file):
    """timm itself would load whatever fits if the number of classes differs."""
    _, path = original_file()
    with pytest.raises(
        InputError, match=r"file=.*: does not fit this network: .* \(stem.1.conv2.conv"
    ):
        load(path, stem="involution7", num_classes=num_classes)
    content = torch.load(path)
    del content["state_dict"]["backbone.layer1.0.bn1.bias"]
    torch.save(content, path)
    with pytest.raises(InputError, match=r"this network: 1 missing \(layer1.0.bn1.bias\); it is"):
        load(path, num_classes=num_classes)


def test_a_file_of_another_depth(original_file):
    _, path = original_file(layers=(1, 2, 4, 1))
    with pytest.raises(
        InputError, match=r"file=.* is for rednet26 \(width=0.25\), not for rednet50"
    ):
        load(path, name="rednet50", layers=(3, 4, 6, 3))
    weights = timm.create_model("test_resnet").state_dict()
    model = {"name": "test_resnet", "options": {}}
    torch.save({"format": "rednet-2", "model": model, "state_dict": weights}, path)
    with pytest.raises(InputError, match="is for test_resnet, not for rednet26"):
        load(path)


def test_the_log_says_where_weights_come_from(original_file, caplog):
    _, path = original_file()
    with caplog.at_level("INFO", logger="rednet"):
        load(path)
    assert f"Loading pretrained weights from file ({path})" in caplog.messages


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"file=.*none\.pth: no such file"):
        load(tmp_path / "none.pth")


def test_the_image_preparation_comes_with_our_files(make_tiny, tmp_path):
    prepared = {"image_size": 28, "crop_pct": 0.9, "interpolation": "bicubic"}
    content = {
        "format": "rednet-2",
        "model": {"name": "rednet26", "options": {"width": 0.25, "layers": [1, 2, 1, 1]}},
        "preprocessing": {**prepared, "mean": (0.3,), "std": (0.2,)},
        "class_names": list("abcdefg"),
        "state_dict": make_tiny(in_chans=1).state_dict(),
    }
    torch.save(content, tmp_path / "last.pt")
    model = load(tmp_path / "last.pt")
    config = resolve_model_data_config(model)
    assert config["input_size"] == (1, 28, 28)
    assert (config["crop_pct"], config["mean"], config["std"]) == (0.9, (0.3,), (0.2,))
    content["preprocessing"]["interpolation"] = "opencv"
    torch.save(content, tmp_path / "last.pt")
    assert resolve_model_data_config(load(tmp_path / "last.pt"))["interpolation"] == "bilinear"
    overruled = load(tmp_path / "last.pt", overlay={"crop_pct": 1.0})
    assert resolve_model_data_config(overruled)["crop_pct"] == 1.0


def test_without_a_file_timm_finds_no_weights():
    with pytest.raises(RuntimeError, match="No pretrained weights exist for rednet26"):
        timm.create_model("rednet26", pretrained=True)


def test_only_the_prefixes_are_stripped():
    tensor = torch.ones(1)
    theirs = {
        "backbone.layer1.0.conv2.conv1.conv.weight": tensor,
        "head.fc.bias": tensor,
        "backbone.stem.0.conv.weight": tensor,
    }
    ours = ["layer1.0.conv2.conv1.conv.weight", "fc.bias", "stem.0.conv.weight"]
    assert list(checkpoint_filter_fn(theirs, None)) == ours
    assert list(checkpoint_filter_fn(dict.fromkeys(ours, tensor), None)) == ours


def test_saved_for_the_hub_and_loaded_from_a_folder(make_tiny, images, tmp_path):
    model = make_tiny().eval()
    options = {"width": 0.25, "layers": [1, 2, 1, 1]}
    timm.models.save_for_hf(model, tmp_path, model_args=options, safe_serialization=True)
    loaded = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    assert torch.equal(loaded(images()), model(images()))


def test_a_loaded_network_can_be_saved_for_the_hub(original_file, tmp_path):
    _, path = original_file()
    timm.models.save_for_hf(load(path), tmp_path / "hub", safe_serialization=True)
    assert (tmp_path / "hub" / "config.json").stat().st_size < 10_000
