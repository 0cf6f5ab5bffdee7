"""timm's own ways to load a file into a RedNet read every kind, nonsense is said."""

import copy
import pickle

import pytest
import timm
import torch
from foreign_names import openmmlab_names, paddle_arrays

from rednet import RedNet
from rednet.data import imagenet_labels, imagenet_synsets
from rednet.errors import InputError

OPTIONS = {"width": 0.25, "layers": (1, 2, 1, 1)}
OURS = {"name": "rednet26", "options": {"width": 0.25, "layers": [1, 2, 1, 1], "stem": "small"}}
PREPARED = {"image_size": 28, "crop_pct": 0.9, "interpolation": "bicubic"}
ASSUMED = "assumed: stem involution3 rather than small; act_layer relu, global_pool avg"


def create(**options):
    return timm.create_model("rednet26", **{**OPTIONS, "num_classes": 7, **options})


def save_paddle(weights, path):
    path.write_bytes(pickle.dumps(paddle_arrays(weights), 2))


def save_original(weights, path):
    torch.save({"meta": {"epoch": 130}, "state_dict": openmmlab_names(weights)}, path)


def save_ours(weights, path, names=tuple("abcdefg")):
    prepared = {**PREPARED, "mean": (0.3, 0.3, 0.3), "std": (0.2, 0.2, 0.2)}
    content = {"format": "rednet-2", "model": OURS, "preprocessing": prepared}
    torch.save({**content, "class_names": list(names), "state_dict": weights}, path)


def by_checkpoint_path(path, **options):
    return create(checkpoint_path=path, **options)


def by_load_checkpoint(path, **options):
    model = create(**options)
    timm.models.load_checkpoint(model, str(path))
    return model


def by_load_pretrained(path, **options):
    model = create(**options)
    timm.models.load_pretrained(model, {"file": str(path)}, num_classes=7)
    return model


WAYS = [by_checkpoint_path, by_load_checkpoint, by_load_pretrained]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("save", [torch.save, save_original, save_paddle])
def test_every_kind_of_file(save, way, make_tiny, images, tmp_path):
    model = make_tiny(stem="involution7").eval()
    save(model.state_dict(), tmp_path / "weights")
    loaded = way(tmp_path / "weights", stem="involution7").eval()
    assert torch.equal(loaded(images()), model(images()))


@pytest.mark.parametrize("way", WAYS)
def test_a_foreign_file_of_another_stem_is_a_warning(way, make_tiny, images, tmp_path, caplog):
    model = make_tiny(stem="small").eval()
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    way(tmp_path / "weights.pth")
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert f"weights.pth: {ASSUMED}" in record.message
    caplog.clear()
    loaded = way(tmp_path / "weights.pth", stem="small").eval()
    assert torch.equal(loaded(images()), model(images()))
    assert "stem" not in caplog.text


@pytest.mark.parametrize("way", WAYS)
def test_a_file_of_ours_knows_its_options(way, make_tiny, images, tmp_path, caplog):
    model = make_tiny(stem="small").eval()
    save_ours(model.state_dict(), tmp_path / "best.pt")
    with pytest.raises(InputError, match=r"is for rednet26 \(.*small\), not for stem=involution3$"):
        way(tmp_path / "best.pt")
    loaded = way(tmp_path / "best.pt", stem="small").eval()
    assert torch.equal(loaded(images()), model(images()))
    cfg = loaded.pretrained_cfg
    assert (cfg["input_size"], cfg["mean"], cfg["crop_pct"]) == ((3, 28, 28), (0.3,) * 3, 0.9)
    assert cfg["label_names"] == tuple("abcdefg")
    assert not caplog.records
    for again in (copy.deepcopy(loaded), pickle.loads(pickle.dumps(loaded))):
        assert torch.equal(again(images()), model(images()))


@pytest.mark.parametrize("way", WAYS)
def test_weights_of_another_network(way, make_tiny, tmp_path):
    torch.save(make_tiny().state_dict(), tmp_path / "weights.pth")
    with pytest.raises(InputError, match=r"does not fit this network: .* of another shape"):
        way(tmp_path / "weights.pth", width=0.5)
    with pytest.raises(InputError, match=r"does not fit this network: .* missing"):
        way(tmp_path / "weights.pth", layers=(2, 2, 1, 1))


def test_other_classes_and_channels(make_tiny, tmp_path, caplog):
    trained = make_tiny(num_classes=5)
    torch.save(trained.state_dict(), tmp_path / "weights.pth")
    with pytest.raises(InputError, match=r"of another shape \(fc.bias \(5,\), not \(7,\)"):
        create(checkpoint_path=tmp_path / "weights.pth")
    model = create(in_chans=1)
    head = model.fc.weight.clone()
    timm.models.load_pretrained(
        model, {"file": str(tmp_path / "weights.pth")}, num_classes=7, in_chans=1
    )
    assert torch.equal(model.fc.weight, head)
    assert torch.equal(model.layer1[0].conv1.weight, trained.layer1[0].conv1.weight)
    assert "has 5 classes, the network has 7: the classifier is not loaded" in caplog.text


def test_what_timm_itself_would_load_in_parts(make_tiny):
    """With other classes it loads whatever fits, and says what is missing at the level INFO."""
    overlay = {"state_dict": make_tiny().state_dict()}
    create(pretrained=True, pretrained_cfg_overlay=overlay, num_classes=3)
    with pytest.raises(InputError, match=r"the pretrained weights do not fit rednet26: .* missing"):
        options = {"num_classes": 3, "layers": (1, 2, 4, 1)}
        create(pretrained=True, pretrained_cfg_overlay=overlay, **options)
    model = create(num_classes=3, width=0.5)
    with pytest.raises(InputError, match="the pretrained weights do not fit rednet26: "):
        timm.models.load_pretrained(model, {**model.pretrained_cfg, **overlay}, num_classes=3)


def test_special_requests_and_other_networks_are_timms(make_tiny, tmp_path):
    weights = make_tiny().state_dict()
    del weights["fc.bias"]
    torch.save(weights, tmp_path / "weights.pth")
    result = timm.models.load_checkpoint(create(), str(tmp_path / "weights.pth"), strict=False)
    assert result.missing_keys == ["fc.bias"]
    resnet = timm.create_model("test_resnet")
    torch.save(resnet.state_dict(), tmp_path / "resnet.pth")
    again = timm.create_model("test_resnet", checkpoint_path=str(tmp_path / "resnet.pth"))
    assert torch.equal(again.fc.weight, resnet.fc.weight)


def test_a_network_that_timm_did_not_create(make_tiny, images, tmp_path):
    model = make_tiny(stem="small").eval()
    save_ours(model.state_dict(), tmp_path / "best.pt")
    other = RedNet(**OPTIONS, num_classes=7, stem="small").eval()
    timm.models.load_checkpoint(other, str(tmp_path / "best.pt"))
    assert torch.equal(other(images()), model(images()))


def test_names_and_descriptions_of_classes(make_tiny, tmp_path):
    names = imagenet_synsets()[:7]
    save_ours(make_tiny(stem="small").state_dict(), tmp_path / "best.pt", names)
    overlay = {"file": str(tmp_path / "best.pt")}
    cfg = create(pretrained=True, pretrained_cfg_overlay=overlay).pretrained_cfg
    assert cfg["label_names"] == tuple(names)
    assert cfg["label_descriptions"] == dict(zip(names, imagenet_labels(), strict=False))


@pytest.mark.parametrize(("stem", "warns"), [(None, True), ("small", False)])
def test_pretrained_warns_of_what_it_assumes(stem, warns, make_tiny, images, tmp_path, caplog):
    torch.save(make_tiny(stem="small").state_dict(), tmp_path / "weights.pth")
    overlay = {"file": str(tmp_path / "weights.pth"), "num_classes": 7}
    given = {"act_layer": "relu", "global_pool": "avg", "output_stride": 32}
    given |= {"stem": stem} if stem else {}
    create(pretrained=True, pretrained_cfg_overlay=overlay, **given)
    levels = [record.levelname for record in caplog.records if record.name.startswith("rednet")]
    assert levels.count("WARNING") == warns
