"""Missing, truncated, changed and foreign files each give a one-line error."""

import pickle
import random
import zipfile
from functools import partial

import numpy as np
import pytest
import safetensors.torch
import torch

from rednet.errors import InputError
from rednet.weights import read_checkpoint


def save_paddle(tensors, path, protocol):
    arrays = {f"{name}._mean": tensor.numpy() for name, tensor in tensors.items()}
    path.write_bytes(pickle.dumps(arrays, protocol))


SAVERS = {
    "new.pt": torch.save,
    "old.pth": partial(torch.save, _use_new_zipfile_serialization=False),
    "a.safetensors": safetensors.torch.save_file,
    "two.pdparams": partial(save_paddle, protocol=2),
    "four.pdparams": partial(save_paddle, protocol=4),
}


@pytest.fixture
def whole(request, tmp_path):
    """Return a function that returns the bytes of a file."""

    def save(name):
        torch.manual_seed(0)
        SAVERS[name]({"weight": torch.randn(50, 50), "bias": torch.randn(50)}, tmp_path / name)
        return (tmp_path / name).read_bytes()

    return save


@pytest.mark.parametrize("name", SAVERS)
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.99])
def test_a_truncated_file(share, name, whole, tmp_path):
    content = whole(name)
    (tmp_path / name).write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=rf"{name}: damaged, truncated or not a checkpoint"):
        read_checkpoint(tmp_path / name)


@pytest.mark.parametrize("name", SAVERS)
def test_any_byte_may_change(name, whole, tmp_path):
    """A change that goes unnoticed is read; all others raise an InputError and nothing else."""
    content, draw = whole(name), random.Random(0)
    for _ in range(150):
        changed = bytearray(content)
        place = draw.choice(
            [draw.randrange(len(content)), draw.randrange(300), -draw.randrange(300)]
        )
        changed[place] = draw.randrange(256)
        (tmp_path / name).write_bytes(changed)
        try:
            read_checkpoint(tmp_path / name)
        except InputError as error:
            assert str(error).startswith(f"checkpoint={tmp_path / name}: ")
            assert "\n" not in str(error)


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"none.pt: no such file"):
        read_checkpoint(tmp_path / "none.pt")
    with pytest.raises(InputError, match=r"is a folder, not a file; only one with model"):
        read_checkpoint(tmp_path)
    with pytest.raises(InputError, match=r"cannot be read: File name too long$"):
        read_checkpoint(tmp_path / ("a" * 300))
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(InputError, match=r"loop: no such file$"):
        read_checkpoint(tmp_path / "loop")


def test_the_message_names_the_key_of_the_configuration(tmp_path):
    with pytest.raises(InputError, match=r"^resume=none\.pt: no such file$"):
        read_checkpoint("none.pt", key="resume")
    torch.save({"epoch": 3}, tmp_path / "a.pt")
    with pytest.raises(
        InputError, match=r"^file=.*a\.pt: contains no state dict; its keys are epoch$"
    ):
        read_checkpoint(tmp_path / "a.pt", key="file")


def test_the_message_names_what_it_found(tmp_path):
    content = {"model_state_dict": {}, "epoch\n\x1b[31m": 3, 5: 0, "a" * 1000: 0, "e": 0, "f": 0}
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(InputError) as caught:
        read_checkpoint(tmp_path / "a.pt")
    _, _, found = str(caught.value).partition("contains no state dict; its keys are ")
    assert found == f"model_state_dict, epoch\\n\\x1b[31m, 5, {'a' * 300}..., and 2 more"


ODD = {
    "sparse": torch.eye(3).to_sparse(),
    "meta": torch.empty(3, device="meta"),
    "repeated": torch.ones(1).expand(3, 2),
}


@pytest.mark.parametrize("name", ODD)
def test_tensors_that_are_not_dense(name, tmp_path):
    torch.save({"weight": torch.ones(3), name: ODD[name]}, tmp_path / "a.pt")
    with pytest.raises(InputError, match=f"not dense or lack data: {name}$"):
        read_checkpoint(tmp_path / "a.pt")


def test_a_small_file_of_giant_tensors(make_tiny, tmp_path):
    """Inferring the architecture loops up to the number of channels."""
    weights = {
        name: torch.ones(1).expand(2**40, *[1] * (tensor.ndim - 1))
        for name, tensor in make_tiny().state_dict().items()
    }
    torch.save(weights, tmp_path / "a.pt")
    with pytest.raises(InputError, match="not dense or lack data: "):
        read_checkpoint(tmp_path / "a.pt")
    empty = {name: torch.empty(2**40, 0, 1, 1) for name in weights}
    torch.save(empty, tmp_path / "a.pt")
    assert read_checkpoint(tmp_path / "a.pt").model is None


def test_a_compressed_file(tmp_path):
    """A few compressed bytes may become gigabytes."""
    torch.save({"weight": torch.zeros(10_000)}, tmp_path / "a.pt")
    with (
        zipfile.ZipFile(tmp_path / "a.pt") as stored,
        zipfile.ZipFile(tmp_path / "b.pt", "w", zipfile.ZIP_DEFLATED) as file,
    ):
        for name in stored.namelist():
            file.writestr(name, stored.read(name))
    with pytest.raises(InputError, match=r"b\.pt: is a compressed zip file; save it again with"):
        read_checkpoint(tmp_path / "b.pt")


TEXTS = [
    b"",
    b"hello world\n",
    b"h",
    b"(",
    b"{}",
    b"<!DOCTYPE html>\n<html></html>",
    b"epoch: 3\n",
    b"X\xff\xff",
    b"\x80\x02.",
    b"version https://git-lfs.github.com/spec/v1\n",
    b"\x02\x00\x00\x00\x00\x00\x00\x00{}",
    b"\x08\x00\x00\x00\x00\x00\x00\x00{}      ",
]


@pytest.mark.parametrize("content", TEXTS)
def test_a_file_of_something_else(content, tmp_path):
    path = tmp_path / "something.pt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"something\.pt: (damaged|contains no)"):
        read_checkpoint(path)


def test_bytes_that_changed_on_the_disk(tmp_path):
    """torch.load does not verify the checksums in the file."""
    content = {"format": "rednet-2", "state_dict": {"weight": torch.zeros(100, 100)}}
    path = tmp_path / "ours.pt"
    torch.save(content, path)
    whole = bytearray(path.read_bytes())
    middle = len(whole) // 2
    whole[middle : middle + 4] = b"\x01\x02\x03\x04"
    path.write_bytes(whole)
    assert torch.load(path, weights_only=True)["state_dict"]["weight"].any()
    with pytest.raises(InputError, match=r"ours\.pt: damaged, truncated or not a checkpoint"):
        read_checkpoint(path)


def test_a_file_whose_parts_overlap(tmp_path):
    """Many members with the same bytes would take as much memory as many files."""
    path = tmp_path / "a.pt"
    torch.save({"weight": torch.zeros(10_000)}, path)
    with zipfile.ZipFile(path, "a") as file:
        (weight,) = (info for info in file.filelist if info.filename.endswith("data/0"))
        file.filelist += [weight, weight]
        file.writestr("a/more", "")
    with pytest.raises(InputError, match=r"a\.pt: damaged, truncated or not a checkpoint"):
        read_checkpoint(path)


NO_STATE_DICTS = [
    [torch.ones(1)],
    {},
    {"epoch": 3},
    {"state_dict": 3},
    {"state_dict": {"weight": 3}},
    {"state_dict": {3: torch.ones(1)}},
    {"state_dict": {"weight": torch.ones(1)}, "state_dict_ema": {"weight": "none"}},
    {"weight": torch.ones(1), "epoch": 3},
    {3: torch.ones(1)},
    "text",
]


@pytest.mark.parametrize("content", NO_STATE_DICTS)
def test_a_file_without_weights(content, tmp_path):
    torch.save(content, tmp_path / "none.pt")
    with pytest.raises(InputError, match="contains no state dict"):
        read_checkpoint(tmp_path / "none.pt")


ARRAYS = np.zeros(3, np.float32)
NO_PARAMETERS = [
    3,
    [ARRAYS],
    {},
    {"weight": ARRAYS},
    {"bn.running_mean": ARRAYS, "bn.weight": ARRAYS},
    {"bn._mean": ARRAYS, "epoch": 3},
    {"bn._mean": ARRAYS, "pair": ()},
    {"bn._mean": ARRAYS, 3: ARRAYS},
]


@pytest.mark.parametrize("content", NO_PARAMETERS, ids=str)
def test_a_pickle_of_something_else(content, tmp_path):
    (tmp_path / "a").write_bytes(pickle.dumps(content))
    with pytest.raises(InputError, match="a: contains no state dict"):
        read_checkpoint(tmp_path / "a")
