"""A folder that `save_for_hub` has written, loaded by timm."""

import json

import pytest
import safetensors.torch
import timm
import torch
import yaml
from calibrated import calibrated
from timm.data import resolve_model_data_config

import rednet
from rednet.data import Preprocessing
from rednet.errors import InputError
from rednet.hub.card import FIGURES
from rednet.models.variants import LAYERS
from rednet.training.metrics import EpochMetrics
from rednet.weights import read_checkpoint

NAMES = ["Katze", "\u732b", "a|b <i>\u202e"]
DATA = {
    **{"image_size": 48, "crop_pct": 0.8, "interpolation": "bicubic"},
    **{"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.2)},
}
OPTIONS = {
    **{"width": 0.25, "layers": [1, 2, 1, 1], "stem": "small", "kernel_size": 5},
    "act_layer": "silu",
}


def make_images(channels=3):
    return torch.randn(2, channels, 48, 48, generator=torch.Generator().manual_seed(0))


def make(name="rednet26", in_chans=3, **options):
    return calibrated(make_images(in_chans), name, in_chans=in_chans, **options)


def write_checkpoint(path, name, options, data=DATA, **more):
    model = make(name, num_classes=3, in_chans=len(data["mean"]), **options)
    content = {
        "format": "rednet-2",
        "model": {"name": name, "options": options},
        "state_dict": model.state_dict(),
        "class_names": NAMES,
        "preprocessing": data,
        **more,
    }
    torch.save(content, path)
    return model


def load(folder, **options):
    return timm.create_model(f"local-dir:{folder}", pretrained=True, **options).eval()


def same_logits(model, other, channels=3, rtol=0, atol=0):
    images = make_images(channels)
    with torch.no_grad():
        expected = model(images)
        assert (
            expected.isfinite().all() and expected.std(0).max() > 1e-3
        )  # they depend on the images
        torch.testing.assert_close(expected, other(images), rtol=rtol, atol=atol)


@pytest.mark.parametrize(
    "name, options", [("rednet26", OPTIONS), ("test_resnet", {}), ("test_vit", {"img_size": 48})]
)
def test_timm_loads_the_network_with_its_classes_and_preprocessing(tmp_path, name, options):
    original = write_checkpoint(tmp_path / "own.pt", name, options)
    rednet.save_for_hub(tmp_path / "own.pt", tmp_path / "hub")
    model = load(tmp_path / "hub")
    same_logits(original, model)
    data = resolve_model_data_config(model)
    assert data == {
        **{"input_size": (3, 48, 48), "crop_pct": 0.8, "crop_mode": "center"},
        **{"interpolation": "bicubic", "mean": [*DATA["mean"]], "std": [*DATA["std"]]},
    }
    assert list(model.pretrained_cfg["label_names"]) == [*NAMES[:2], "a|b <i>\\u202e"]
    require_known(tmp_path / "hub", original)
    weights = safetensors.torch.load_file(tmp_path / "hub/model.safetensors")
    safetensors.torch.save_file(weights, tmp_path / "hub/model.safetensors")  # as timm writes it
    require_known(tmp_path / "hub", original)


def require_known(folder, original):
    """Check that a folder for timm tells our own classes what it tells timm."""
    ours = rednet.Classifier(folder)
    same_logits(original, ours.model, rtol=1e-4, atol=1e-5)  # it keeps channels last
    assert ours.class_names == [*NAMES[:2], "a|b <i>\\u202e"]
    assert ours.preprocessing == Preprocessing(**DATA)


def test_another_classifier_features_and_channels(tmp_path):
    original = write_checkpoint(tmp_path / "own.pt", "rednet26", OPTIONS)
    rednet.save_for_hub(tmp_path / "own.pt", tmp_path / "hub")
    assert load(tmp_path / "hub", num_classes=7)(torch.randn(1, 3, 48, 48)).shape == (1, 7)
    images = torch.randn(1, 3, 48, 48)
    features = load(tmp_path / "hub", features_only=True)(images)
    torch.testing.assert_close(features[-1], original.forward_features(images))
    assert load(tmp_path / "hub", in_chans=1)(images[:, :1]).shape == (1, 3)


def test_gray_images_and_opencv(tmp_path):
    gray = {**DATA, "mean": (0.3,), "std": (0.4,), "interpolation": "opencv"}
    original = write_checkpoint(tmp_path / "own.pt", "rednet26", OPTIONS, gray)
    rednet.save_for_hub(tmp_path / "own.pt", tmp_path / "hub")
    model = load(tmp_path / "hub")
    same_logits(original, model, channels=1)
    data = resolve_model_data_config(model)
    assert (data["input_size"], data["mean"]) == ((1, 48, 48), [0.3])
    assert data["interpolation"] == "bilinear"


def test_a_network_of_timms(tmp_path, capsys):
    model = make(num_classes=3, drop_rate=0.5, **OPTIONS)
    rednet.save_for_hub(model, tmp_path, class_names=NAMES)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{tmp_path}: wrote config.json, model.safetensors and README.md for ")
    assert line.endswith(f"timm.create_model('local-dir:{tmp_path}', pretrained=True) loads them")
    same_logits(model, load(tmp_path))
    card = (tmp_path / "README.md").read_text()
    assert "rednet26 (width=0.25, layers=\\[1, 2, 1, 1\\], stem=small, kernel\\_size=5," in card
    assert rednet.Classifier(tmp_path / "model.safetensors").class_names[:2] == NAMES[:2]
    with pytest.raises(InputError, match="must be a list of texts"):
        rednet.save_for_hub(model, tmp_path / "other", class_names="abc")
    with pytest.raises(InputError, match="2 names for 3 outputs"):
        rednet.save_for_hub(model, tmp_path, class_names=NAMES[:2], overwrite=True)
    with pytest.raises(InputError, match=r"made by timm\.create_model"):
        rednet.save_for_hub(torch.nn.Linear(2, 2), tmp_path / "other")


def test_a_network_without_classifier(tmp_path, capsys):
    model = make(num_classes=0, **OPTIONS)
    rednet.save_for_hub(model, tmp_path, quiet=True)
    assert capsys.readouterr().out == ""
    same_logits(model, load(tmp_path))


def test_the_card(tmp_path):
    metrics = {"val_top1": 71.23456, "val_top5": None}
    write_checkpoint(tmp_path / "own.pt", "rednet26", OPTIONS, metrics=metrics)
    rednet.save_for_hub(tmp_path / "own.pt", tmp_path / "hub", license="mit")
    card = (tmp_path / "hub/README.md").read_text()
    for text in (
        'license: "mit"',
        "| validation top-1 | 71.23 % |",
        "| images | 3 x 48 x 48 |",
        "import rednet  # registers",
        "Katze, \u732b, a\\|b \\<i\\>\\\\u202e",
    ):
        assert text in card
    assert "top-5" not in card
    # The keys of a run's own metrics: other tests write them by hand.
    assert set(FIGURES) <= EpochMetrics.__dataclass_fields__.keys()
    header = yaml.safe_load(card.split("---")[1])
    assert (header["library_name"], header["license"]) == ("timm", "mit")
    config = json.loads((tmp_path / "hub/config.json").read_text())
    assert "license" not in config["pretrained_cfg"]  # that of the released weights


def test_a_folder_of_another_program(tmp_path):
    write_checkpoint(tmp_path / "own.pt", "rednet26", {"width": 0.25})
    weights = read_checkpoint(tmp_path / "own.pt").state_dict
    safetensors.torch.save_file(weights, tmp_path / "model.safetensors")
    for text, damage in (("{}", False), ('{"architecture": "x", "pretrained_cfg": 3}', True)):
        (tmp_path / "config.json").write_text(text)
        if damage:
            with pytest.raises(InputError, match=r"config\.json beside it is damaged"):
                read_checkpoint(tmp_path)
        else:
            assert read_checkpoint(tmp_path).kind == "safetensors"


def test_files_are_replaced_on_request_only(tmp_path):
    write_checkpoint(tmp_path / "own.pt", "rednet26", OPTIONS)
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub/README.md").write_text("mine")
    with pytest.raises(InputError, match=r"has README\.md; overwrite=True"):
        rednet.save_for_hub(tmp_path / "own.pt", tmp_path / "hub")
    assert [path.name for path in (tmp_path / "hub").iterdir()] == ["README.md"]
    rednet.save_for_hub(tmp_path / "own.pt", tmp_path / "hub", overwrite=True)
    assert len(list((tmp_path / "hub").iterdir())) == 3
    with pytest.raises(InputError, match="is a file"):
        rednet.save_for_hub(tmp_path / "own.pt", tmp_path / "own.pt")
    with pytest.raises(InputError, match=r"^source=\S+missing\.pt: "):
        rednet.save_for_hub(tmp_path / "missing.pt", tmp_path / "other")


@pytest.mark.nightly
@pytest.mark.parametrize("name", LAYERS)
def test_all_depths(tmp_path, name):
    torch.manual_seed(0)
    model = timm.create_model(name).eval()
    for tensor in model.state_dict().values():  # no block stays the shortcut that it starts as
        if tensor.is_floating_point():
            tensor.add_(1e-3 * torch.rand_like(tensor))
    rednet.save_for_hub(model, tmp_path)
    same_logits(model, load(tmp_path))
