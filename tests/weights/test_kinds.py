"""Files of every kind are detected from their content and read as the same weights."""

import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from rednet.errors import InputError
from rednet.weights import load_weights, read_checkpoint, restore_model

IMAGENET = {
    "image_size": 224,
    "crop_pct": 0.875,
    "interpolation": "bilinear",
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
}


@pytest.mark.parametrize("kind", ["openmmlab", "paddle", "timm"])
def test_a_released_network(kind, writers, released_weights, same_weights, tmp_path):
    checkpoint = read_checkpoint(writers[kind](released_weights, tmp_path / "weights"))
    assert len(checkpoint.state_dict) == 251
    same_weights(checkpoint.state_dict, released_weights)
    assert (checkpoint.kind, checkpoint.is_inferred) == (kind, True)
    assert checkpoint.model == {"name": "rednet26", "options": {}}
    assert (checkpoint.num_classes, checkpoint.in_chans) == (1000, 3)
    assert checkpoint.preprocessing == IMAGENET
    assert checkpoint.class_names is None
    restored = restore_model(checkpoint)
    same_weights(dict(restored.state_dict()), released_weights)


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("style", ["table", "bare", "pairs"])
def test_paddles_pickles(style, protocol, tiny, writers, same_weights, tmp_path):
    path = writers["paddle"](tiny, tmp_path / "a.pdparams", protocol, style)
    checkpoint = read_checkpoint(path)
    same_weights(checkpoint.state_dict, tiny)
    assert checkpoint.num_classes == 7
    assert checkpoint.state_dict["layer1.0.bn1.num_batches_tracked"] == 0
    assert checkpoint.preprocessing is None


def test_names_that_numpy_has_changed(tiny, writers, same_weights, tmp_path):
    """Old numpy names the module "core", new numpy "_core"; both names are read."""
    path = writers["paddle"](tiny, tmp_path / "a.pdparams", 2)
    data = path.read_bytes()
    other = data.replace(b"cnumpy._core.", b"cnumpy.core.")
    assert other != data
    path.write_bytes(other)
    same_weights(read_checkpoint(path).state_dict, tiny)


def test_arrays_in_every_order(tmp_path):
    values = np.arange(6, dtype=np.float32).reshape(1, 2, 3, 1)
    arrays = {
        "big": values.astype(">f4"),
        "columns": np.asfortranarray(values),
        "half": values.astype(np.float16),
        "bn._mean": np.zeros(3, np.float32),
    }
    path = tmp_path / "arrays"
    path.write_bytes(pickle.dumps(arrays, 2))
    weights = read_checkpoint(path).state_dict
    for name in ("big", "columns"):
        assert torch.equal(weights[name], torch.from_numpy(values))
    assert weights["half"].dtype == torch.float16


@pytest.mark.parametrize("suffix", [".safetensors", ".pdparams", ".pth", ".npz", ".tar", ""])
def test_the_suffix_means_nothing(suffix, tiny, writers, same_weights, tmp_path):
    path = tmp_path / f"weights{suffix}"
    for kind, write in writers.items():
        write(tiny, path)
        assert read_checkpoint(path).kind == kind
    save_file({name: tensor.contiguous() for name, tensor in tiny.items()}, path)
    checkpoint = read_checkpoint(path)
    assert checkpoint.kind == "safetensors"
    same_weights(checkpoint.state_dict, tiny)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("wrap", ["none", "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_state_dicts(prefix, wrap, old, tiny, same_weights, tmp_path):
    weights = {prefix + name: tensor for name, tensor in tiny.items()}
    content = weights if wrap == "none" else {"epoch": 3, wrap: weights}
    torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=not old)
    checkpoint = read_checkpoint(tmp_path / "a.pt")
    same_weights(checkpoint.state_dict, tiny)
    assert checkpoint.kind == "state-dict"
    assert checkpoint.content.keys() == ({"state_dict"} if wrap == "none" else content.keys())


def test_safetensors_of_others(tiny, same_weights, tmp_path):
    weights = {name: tensor.contiguous() for name, tensor in tiny.items()}
    save_file(weights, tmp_path / "a", metadata={"format": "pt", "author": "someone"})
    checkpoint = read_checkpoint(tmp_path / "a")
    same_weights(checkpoint.state_dict, tiny)
    assert checkpoint.kind == "safetensors"
    assert checkpoint.content["metadata"] == {"format": "pt", "author": "someone"}


@pytest.mark.parametrize("stem", ["involution3", "involution7", "conv7"])
@pytest.mark.parametrize("wrap", [False, True])
def test_the_bare_backbone(wrap, stem, make_tiny, images, tmp_path):
    """The original's backbone for detection: no prefix, no classifier."""
    model = make_tiny(stem=stem, num_classes=0).eval()
    weights = model.state_dict()
    content = {"meta": {"epoch": 130}, "state_dict": weights} if wrap else weights
    torch.save(content, tmp_path / "backbone.pth")
    checkpoint = read_checkpoint(tmp_path / "backbone.pth")
    assert not checkpoint.has_head
    assert checkpoint.num_classes == 0
    assert checkpoint.preprocessing is None
    assert checkpoint.kind == ("openmmlab" if wrap else "state-dict")
    assert checkpoint.model["options"].get("stem", "involution3") == stem
    assert torch.equal(restore_model(checkpoint).eval()(images()), model(images()))


def test_a_segmentor_gives_its_backbone(make_tiny, images, tmp_path):
    model = make_tiny().eval()
    weights = {f"backbone.{k}": v for k, v in model.state_dict().items() if k[:3] != "fc."}
    weights |= {"neck.conv.weight": torch.ones(1), "decode_head.conv_seg.bias": torch.ones(2)}
    torch.save({"meta": {}, "state_dict": weights}, tmp_path / "fpn.pth")
    checkpoint = read_checkpoint(tmp_path / "fpn.pth")
    assert checkpoint.dropped_parts == ("decode_head", "neck")
    assert not checkpoint.has_head
    expected = (
        r"checkpoint=.*fpn\.pth: has no classifier, it comes from a detector or segmentor "
        r"\(decode_head, neck dropped\): train one first$"
    )
    with pytest.raises(InputError, match=expected):
        load_weights(make_tiny(), checkpoint)
    features = restore_model(checkpoint).eval().forward_features(images())
    assert torch.equal(features, model.forward_features(images()))


def test_mmcvs_averaged_weights(tiny, writers, same_weights, tmp_path):
    """mmcv swaps both copies before it saves, so the plain names are averaged."""
    names = [f"backbone.{name}" for name in tiny if name[:3] != "fc."]
    names += ["head.fc.weight", "head.fc.bias"]
    path = writers["openmmlab"](tiny, tmp_path / "a.pth")
    content = torch.load(path)
    content["state_dict"] |= {f"ema_{name.replace('.', '_')}": torch.ones(1) for name in names}
    torch.save(content, path)
    checkpoint = read_checkpoint(path)
    same_weights(checkpoint.state_dict, tiny)
    assert (checkpoint.dropped_parts, checkpoint.num_classes) == ((), 7)


@pytest.mark.parametrize("part", ["neck.conv.weight", "data_preprocessor.mean"])
def test_a_classifier_with_more_parts(part, tiny, writers, same_weights, tmp_path):
    path = writers["openmmlab"](tiny, tmp_path / "a.pth")
    content = torch.load(path)
    content["state_dict"][part] = torch.ones(1)
    torch.save(content, path)
    checkpoint = read_checkpoint(path)
    same_weights(checkpoint.state_dict, tiny)
    assert checkpoint.dropped_parts == (part.partition(".")[0],)
    content["state_dict"]["head.fc.weight"] = torch.ones(7, 3)
    torch.save(content, path)
    assert not read_checkpoint(path).has_head


def test_many_parts_are_not_all_named(make_tiny, tmp_path):
    weights = {f"backbone.{k}": v for k, v in make_tiny(num_classes=0).state_dict().items()}
    weights |= {f"part{number:03}.weight": torch.ones(1) for number in range(500)}
    torch.save(weights, tmp_path / "a.pth")
    with pytest.raises(InputError, match=r"\(part000, .*, part003, and 496 more dropped\)"):
        load_weights(make_tiny(), read_checkpoint(tmp_path / "a.pth"))


def test_paddles_bfloat16(tiny, writers, tmp_path):
    """Paddle stores bfloat16 as 16-bit integers, since numpy lacks it."""
    path = writers["paddle"](tiny, tmp_path / "a.pdparams", style="bare")
    arrays = {
        name: torch.from_numpy(array).bfloat16().view(torch.uint16).numpy()
        for name, array in pickle.loads(path.read_bytes()).items()
    }
    path.write_bytes(pickle.dumps(arrays, 4))
    weights = read_checkpoint(path).state_dict
    assert torch.equal(weights["fc.weight"], tiny["fc.weight"].bfloat16())
    arrays["fc.bias"] = np.zeros(7, np.int8)
    path.write_bytes(pickle.dumps(arrays, 4))
    with pytest.raises(InputError, match=r"fc\.bias has torch\.int8, but Paddle's weights"):
        read_checkpoint(path)


def test_numpy_numbers_in_the_metadata(tiny, writers, tmp_path):
    meta = {
        "lr": np.float64(0.1),
        "seed": np.int64(3),
        "done": np.bool_(True),
        "of": np.dtype("f4"),
    }
    path = writers["openmmlab"](tiny, tmp_path / "a.pth", notes=meta)
    notes = read_checkpoint(path).content["notes"]
    assert (notes["lr"], notes["seed"], notes["done"]) == (0.1, 3, True)
    assert type(notes["lr"]) is float


def test_averaged_weights_are_preferred(tiny, writers, tmp_path):
    averaged = {name: tensor + 1 for name, tensor in tiny.items()}
    path = writers["timm"](tiny, tmp_path / "a.pth.tar", state_dict_ema=averaged)
    assert torch.equal(read_checkpoint(path).state_dict["fc.bias"], averaged["fc.bias"])


def test_names_of_a_rednet_without_its_shapes(tiny, tmp_path):
    torch.save({name: torch.tensor(1.0) for name in tiny}, tmp_path / "numbers.pt")
    checkpoint = read_checkpoint(tmp_path / "numbers.pt")
    assert (checkpoint.model, checkpoint.num_classes) == (None, None)
