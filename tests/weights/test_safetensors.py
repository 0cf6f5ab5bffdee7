"""Safetensors files keep the description of a network."""

import dataclasses

import pytest
import safetensors.torch
import torch
from safetensors import safe_open
from timm.models import load_state_dict

from rednet.errors import InputError
from rednet.weights import read_checkpoint, restore_model, write_safetensors


@pytest.fixture
def checkpoint(make_tiny, tmp_path):
    """A checkpoint of a run of ours, with averaged weights."""
    weights = make_tiny().state_dict()
    content = {
        "format": "rednet-2",
        "model": {"name": "rednet26", "options": {"width": 0.25, "layers": [1, 2, 1, 1]}},
        "state_dict": weights,
        "state_dict_ema": {name: tensor + 1 for name, tensor in weights.items()},
        "preprocessing": {
            "image_size": 28,
            "crop_pct": 0.9,
            "interpolation": "bicubic",
            "mean": (0.1, 1 / 3, 0.2),
            "std": (0.25, 0.5, 0.125),
        },
        "class_names": ["T-shirt", "Größe", "c", "d", "e", "f", "g"],
        "config": "seed: 3\n",
        "data": {"name": "image_folder", "train": None, "val": None},
        "metrics": {"val_top1": 1 / 3, "val_loss": None},
        "train_state": {"epoch": 3},
    }
    torch.save(content, tmp_path / "last.pt")
    return read_checkpoint(tmp_path / "last.pt")


def test_nothing_is_lost(checkpoint, same_weights, tmp_path):
    write_safetensors(checkpoint, tmp_path / "out.safetensors")
    again = read_checkpoint(tmp_path / "out.safetensors")
    same_weights(again.state_dict, checkpoint.state_dict)
    names = ("model", "preprocessing", "class_names", "num_classes", "in_chans", "is_averaged")
    for name in names:
        assert getattr(again, name) == getattr(checkpoint, name), name
    assert (again.kind, again.is_inferred) == ("rednet-safetensors", False)
    for name in ("config", "data", "metrics"):
        assert again.content[name] == checkpoint.content[name]
    assert "train_state" not in again.content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last.pt", "out.safetensors"]
    write_safetensors(again, tmp_path / "copy.safetensors")
    assert read_checkpoint(tmp_path / "copy.safetensors").content.keys() == again.content.keys()


def test_what_others_read(checkpoint, same_weights, tmp_path):
    path = tmp_path / "out.safetensors"
    write_safetensors(checkpoint, path)
    same_weights(safetensors.torch.load_file(path), checkpoint.state_dict)
    same_weights(load_state_dict(str(path)), checkpoint.state_dict)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    assert metadata["format"] == "pt"
    assert metadata["source"] == "rednet"
    assert metadata["model"] == (
        '{"name": "rednet26", "options": {"width": 0.25, "layers": [1, 2, 1, 1]}}'
    )


@pytest.mark.parametrize("kind", ["openmmlab", "paddle", "timm"])
def test_from_every_kind(kind, writers, make_tiny, images, tmp_path):
    model = make_tiny(stem="involution7").eval()
    source = read_checkpoint(writers[kind](dict(model.state_dict()), tmp_path / "source"))
    write_safetensors(source, tmp_path / "out")
    restored = restore_model(read_checkpoint(tmp_path / "out")).eval()
    assert torch.equal(restored(images()), model(images()))


def test_tensors_that_share_their_memory(make_tiny, same_weights, tmp_path):
    base = torch.arange(6.0)
    weights = {"a": base[:4], "b": base[2:], "c": base.view(2, 3).T}
    torch.save(weights, tmp_path / "views.pt")
    write_safetensors(read_checkpoint(tmp_path / "views.pt"), tmp_path / "out")
    same_weights(read_checkpoint(tmp_path / "out").state_dict, weights)


def test_files_that_exist_are_kept(checkpoint, tmp_path):
    path = tmp_path / "out.safetensors"
    path.write_text("precious")
    with pytest.raises(InputError, match=r"^output=.*: exists; overwrite=true replaces it$"):
        write_safetensors(checkpoint, path)
    assert path.read_text() == "precious"
    write_safetensors(checkpoint, path, overwrite=True)
    again = read_checkpoint(path)
    with pytest.raises(InputError, match="is the checkpoint itself"):
        write_safetensors(again, path, overwrite=True)
    with pytest.raises(InputError, match="is the checkpoint itself"):
        write_safetensors(again, path.parent / ".." / path.parent.name / path.name, overwrite=True)
    with pytest.raises(InputError, match="is a folder, not a file"):
        write_safetensors(checkpoint, tmp_path, overwrite=True)
    with pytest.raises(InputError, match="is a file, not a folder"):
        write_safetensors(checkpoint, path / "out.safetensors")


def test_an_invalid_header(checkpoint, tmp_path):
    path = tmp_path / "out"
    metadata = {"rednet": "0.1", "model": "{", "format": "pt"}
    safetensors.torch.save_file({"a": torch.ones(1)}, path, metadata)
    with pytest.raises(InputError, match="out: damaged, truncated or not a checkpoint"):
        read_checkpoint(path)


def test_unknown_values_are_not_written(checkpoint, tmp_path):
    bare = dataclasses.replace(checkpoint, model=None, preprocessing=None, class_names=None)
    write_safetensors(bare, tmp_path / "out")
    again = read_checkpoint(tmp_path / "out")
    assert (again.model, again.is_inferred) == (
        {"name": "rednet50", "options": {"width": 0.25, "layers": [1, 2, 1, 1]}},
        True,
    )
    assert again.preprocessing is None


def test_the_same_bytes_each_time(checkpoint, tmp_path):
    """safetensors itself writes metadata in random order."""
    paths = [tmp_path / str(number) for number in range(8)]
    for path in paths:
        write_safetensors(checkpoint, path)
    assert len({path.read_bytes() for path in paths}) == 1


def test_an_inferred_network_stays_marked(make_tiny, tmp_path):
    torch.save(make_tiny().state_dict(), tmp_path / "weights.pt")
    for source, target in (("weights.pt", "once"), ("once", "twice")):
        write_safetensors(read_checkpoint(tmp_path / source), tmp_path / target)
        assert read_checkpoint(tmp_path / target).is_inferred


def test_paths_that_cannot_be_written(checkpoint, tmp_path):
    with pytest.raises(InputError, match=r"cannot be written: File name too long$"):
        write_safetensors(checkpoint, tmp_path / ("a" * 300))
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(InputError, match=r"file: cannot be written: "):
        write_safetensors(checkpoint, loop / "file")


def test_a_header_as_long_as_a_pickle_begins(tmp_path):
    """The first byte of the file is the lowest of the header's length, and 0x80 in a pickle."""
    for length in range(200, 400):
        safetensors.torch.save_file(
            {"weight": torch.ones(1)}, tmp_path / "a", {"note": "x" * length}
        )
        if (tmp_path / "a").read_bytes()[0] == 0x80:
            break
    assert (tmp_path / "a").read_bytes()[0] == 0x80
    assert read_checkpoint(tmp_path / "a").kind == "safetensors"
