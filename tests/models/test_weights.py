"""Weights from a file: what is accepted, and one line for what is not."""

import pickle
import warnings
from functools import partial

import pytest
import safetensors.torch
import torch

from rednet.errors import InputError
from rednet.models.weights import load_weights, read_checkpoint


class NotPlain:
    pass


def save(content, path):
    torch.save(content, path)
    return path


@pytest.mark.parametrize("wrap", [dict, lambda weights: {"state_dict": weights}])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_bare_state_dict(wrap, prefix, make_tiny, images, tmp_path):
    model = make_tiny().eval()
    weights = {prefix + key: tensor for key, tensor in model.state_dict().items()}
    checkpoint = read_checkpoint(save(wrap(weights), tmp_path / "weights.pt"))
    other = make_tiny(drop_rate=0.1).eval()
    torch.nn.init.zeros_(other.fc.weight)
    assert checkpoint.model is None
    assert load_weights(other, checkpoint) is None
    assert torch.equal(other(images()), model(images()))


def test_the_originals_names(make_tiny, images, tmp_path):
    model = make_tiny().eval()
    weights = {
        f"{'head.' if key.startswith('fc.') else 'backbone.'}{key}": tensor
        for key, tensor in model.state_dict().items()
    }
    checkpoint = read_checkpoint(save({"meta": {}, "state_dict": weights}, tmp_path / "a.pth"))
    other = make_tiny().eval()
    torch.nn.init.zeros_(other.fc.weight)
    load_weights(other, checkpoint)
    assert torch.equal(other(images()), model(images()))


def test_averaged_weights_come_first(make_tiny, tmp_path):
    weights = make_tiny().state_dict()
    averaged = {key: tensor + 1 for key, tensor in weights.items()}
    content = {
        "format": 1,
        "model": {"name": "rednet26", "options": {}},
        "state_dict": weights,
        "state_dict_ema": averaged,
    }
    checkpoint = read_checkpoint(save(content, tmp_path / "ours.pt"))
    assert checkpoint.model == {"name": "rednet26", "options": {}}
    assert torch.equal(checkpoint.state_dict["fc.bias"], averaged["fc.bias"])


def test_another_number_of_classes(make_tiny, tmp_path):
    trained = make_tiny(num_classes=5)
    checkpoint = read_checkpoint(save(trained.state_dict(), tmp_path / "five.pt"))
    with pytest.raises(InputError, match="classifier has 5 classes, the data 7: evaluate it"):
        load_weights(make_tiny(), checkpoint)
    model = make_tiny()
    head = model.fc.weight.clone()
    torch.nn.init.zeros_(model.layer1[0].conv1.weight)
    note = load_weights(model, checkpoint, new_head=True)
    assert "classifier has 5 classes, the data 7: the classifier starts anew" in note
    assert torch.equal(model.fc.weight, head)
    assert torch.equal(model.layer1[0].conv1.weight, trained.layer1[0].conv1.weight)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": (1, 1, 1, 1)}, r"\d+ unexpected \(layer2.1.bn1.bias, .*, and \d+ more\)"),
        ({"layers": (2, 2, 1, 1)}, r"\d+ missing \(layer1.1.bn1.bias"),
        ({"width": 0.5}, r"\d+ misshapen \(fc.weight \(7, 512\) for \(7, 1024\)"),
        ({"width": 0.5, "num_classes": 9}, "misshapen"),
    ],
)
@pytest.mark.parametrize("new_head", [False, True])
def test_weights_of_another_network(options, message, new_head, make_tiny, tmp_path):
    checkpoint = read_checkpoint(save(make_tiny().state_dict(), tmp_path / "weights.pt"))
    other = make_tiny(**options)
    before = other.fc.weight.clone()
    with pytest.raises(InputError, match=f"weights.pt: not of this network: .*{message}"):
        load_weights(other, checkpoint, new_head=new_head)
    assert torch.equal(other.fc.weight, before)


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"none.pt: no such file"):
        read_checkpoint(tmp_path / "none.pt")
    with pytest.raises(InputError, match="no such file"):
        read_checkpoint(tmp_path)


TEXTS = [
    b"",
    b"hello world\n",
    b"h",
    b"(",
    b"{}",
    b"<html>",
    b"epoch: 3\n",
    b"X\xff\xff",
    b"\x80\x02.",
]


@pytest.mark.parametrize("content", TEXTS)
def test_a_file_of_something_else(content, tmp_path):
    path = tmp_path / "something.pt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"something\.pt: (damaged|cannot be loaded|holds no)"):
        read_checkpoint(path)


SAVERS = {
    "cut.pt": torch.save,
    "cut.pth": partial(torch.save, _use_new_zipfile_serialization=False),
    "cut.safetensors": safetensors.torch.save_file,
}


@pytest.mark.parametrize("name", SAVERS)
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.99])
def test_a_truncated_file(share, name, tmp_path):
    path = tmp_path / name
    SAVERS[name]({"weight": torch.randn(50, 50), "bias": torch.randn(50)}, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=rf"{name}: (damaged|cannot be loaded)"):
        read_checkpoint(path)


def test_a_file_that_would_run_code(tmp_path):
    path = tmp_path / "unsafe.pt"
    save({"state_dict": {"a": torch.ones(1)}, "args": print}, path)
    with pytest.raises(InputError, match="cannot be loaded safely"):
        read_checkpoint(path)
    path.write_bytes(pickle.dumps({"weights": [1.0, 2.0], "function": print}))
    with pytest.raises(InputError, match=r"unsafe\.pt"):
        read_checkpoint(path)


def test_a_pickle_of_another_program_is_refused_without_a_warning(tmp_path):
    path = tmp_path / "unsafe.pt"
    path.write_bytes(pickle.dumps(NotPlain(), protocol=5))
    with warnings.catch_warnings(action="error"), pytest.raises(InputError, match="safely"):
        read_checkpoint(path)


def test_bytes_that_changed_on_the_disk(tmp_path):
    """torch itself does not look at the check sums in the file."""
    content = {"format": "rednet-1", "state_dict": {"weight": torch.zeros(100, 100)}}
    path = save(content, tmp_path / "ours.pt")
    whole = bytearray(path.read_bytes())
    middle = len(whole) // 2
    whole[middle : middle + 4] = b"\x01\x02\x03\x04"
    path.write_bytes(whole)
    assert torch.load(path, weights_only=True)["state_dict"]["weight"].any()
    with pytest.raises(InputError, match=r"ours\.pt: damaged or cut short"):
        read_checkpoint(path)


def test_safetensors(make_tiny, images, tmp_path):
    model = make_tiny().eval()
    weights = {key: tensor.contiguous() for key, tensor in model.state_dict().items()}
    safetensors.torch.save_file(weights, tmp_path / "weights.safetensors")
    other = make_tiny().eval()
    torch.nn.init.zeros_(other.fc.weight)
    load_weights(other, read_checkpoint(tmp_path / "weights.safetensors"))
    assert torch.equal(other(images()), model(images()))


@pytest.mark.parametrize(
    "more",
    [
        {"format": "pt", "model": "resnet50"},
        {"model": {"name": "rednet26"}, "config": 3},
        {"arch": "resnet50", "epoch": 3},
    ],
)
def test_files_of_other_programs_do_not_name_the_network(more, tmp_path):
    content = {**more, "state_dict": {"weight": torch.ones(1)}}
    assert read_checkpoint(save(content, tmp_path / "other.pt")).model is None


def test_the_message_names_the_key_of_the_configuration(tmp_path):
    with pytest.raises(InputError, match=r"^resume=none\.pt: no such file$"):
        read_checkpoint("none.pt", key="resume")


NO_STATE_DICTS = [
    [torch.ones(1)],
    {},
    {"epoch": 3},
    {"state_dict": 3},
    {"state_dict": {"weight": 3}},
    {"state_dict": {"weight": torch.ones(1)}, "state_dict_ema": {"weight": "none"}},
    {"weight": torch.ones(1), "epoch": 3},
    "text",
]


@pytest.mark.parametrize("content", NO_STATE_DICTS)
def test_a_file_without_weights(content, tmp_path):
    with pytest.raises(InputError, match="holds no state dict"):
        read_checkpoint(save(content, tmp_path / "none.pt"))
