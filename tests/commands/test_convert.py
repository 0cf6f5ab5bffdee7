"""Convert weights to safetensors, as a user does."""

import hashlib
import shutil

import pytest
import safetensors.torch
import timm
import torch
from foreign_names import openmmlab_names

from rednet import commands
from rednet.weights import read_checkpoint

UNSEEN = "act_layer relu, global_pool avg, output_stride 32"
TINY = {"width": 0.25, "layers": [1, 1, 1, 1]}


@pytest.fixture
def convert(capsys):
    """Convert with the given overrides."""

    def run(*argv):
        capsys.readouterr()
        code = commands.convert_weights(list(argv))
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def error(convert):
    """Return a function that converts and returns the single error line."""

    def run(*argv):
        code, out, err = convert(*argv)
        (line,) = err.splitlines()
        assert (code, out) == (2, "")
        return line.removeprefix("error: ")

    return run


@pytest.fixture
def original(work_folder):
    """Weights with the original's names, in the working directory."""
    model = timm.create_model("rednet26", num_classes=5, **TINY)
    weights = openmmlab_names(model.state_dict())
    torch.save({"meta": {"epoch": 130}, "state_dict": weights}, "original.pth")
    return model


def test_the_originals_file(original, convert, work_folder):
    code, out, err = convert("checkpoint=original.pth", "output=small.safetensors")
    assert (code, err) == (0, "")
    parameters = sum(parameter.numel() for parameter in original.parameters())
    data = (work_folder / "small.safetensors").read_bytes()
    assert out.splitlines() == [
        "checkpoint=original.pth: openmmlab",
        "network: rednet50 (width=0.25, layers=[1, 1, 1, 1]) (inferred from its tensors), "
        f"{parameters:,} parameters",
        f"assumed: stem involution3 rather than small; {UNSEEN}",
        f"wrote small.safetensors: {len(data):,} bytes, "
        f"sha256 {hashlib.sha256(data).hexdigest()[:8]}...",
    ]
    weights = safetensors.torch.load_file("small.safetensors")
    assert all(torch.equal(weights[key], value) for key, value in original.state_dict().items())
    assert read_checkpoint("small.safetensors").num_classes == 5


def test_options_that_tensors_do_not_show(original, convert):
    options = ["model.options.stem=small", "model.options.layers=[1,1,1,1]"]
    argv = ["checkpoint=original.pth", "output=a.safetensors", "model=rednet26", *options]
    code, out, _ = convert(*argv)
    assert code == 0
    assert f"assumed: {UNSEEN}" in out.splitlines()
    assert read_checkpoint("a.safetensors").model == {
        "name": "rednet26",
        "options": {"stem": "small", **TINY},
    }


def test_a_run_of_ours(trained, convert):
    code, out, err = convert(f"checkpoint={trained}/checkpoints/last.pt", "output=a.safetensors")
    assert (code, err) == (0, "")
    assert "network: test_resnet, " in out
    before = read_checkpoint(trained / "checkpoints" / "last.pt")
    after = read_checkpoint("a.safetensors")
    assert after.model == before.model
    assert after.preprocessing == before.preprocessing
    assert after.class_names == before.class_names
    assert after.content["config"] == before.content["config"]


def test_a_timm_network(convert):
    torch.save(timm.create_model("test_resnet", num_classes=4, in_chans=1).state_dict(), "a.pt")
    argv = ["checkpoint=a.pt", "output=a.safetensors", "model=timm", "model.name=test_resnet"]
    assert convert(*argv)[0] == 0
    assert read_checkpoint("a.safetensors").model == {"name": "test_resnet", "options": {}}


def test_mistakes(original, error, work_folder):
    source, output = "checkpoint=original.pth", "output=a.safetensors"
    assert error() == "checkpoint=FILE is needed: the weights to convert"
    assert error(source) == "output=FILE.safetensors is needed: the file to write"
    assert error("checkpoint=none.pth", output) == "checkpoint=none.pth: no such file"
    assert error(source, output, "data.root=folder") == "data.root: this command does not use it"
    of_other = "checkpoint=original.pth is for rednet50 (width=0.25, layers=[1, 1, 1, 1])"
    assert error(source, output, "model=rednet38") == f"{of_other}, not for rednet38"
    conv7 = ["model=rednet50", "model.options.stem=conv7"]
    assert error(source, output, *conv7).startswith(
        "checkpoint=original.pth: does not fit this network: "
    )
    assert error(source, "output=a.pth") == ("output=a.pth: must end in .safetensors")
    shutil.copy("original.pth", "same.safetensors")
    assert error("checkpoint=same.safetensors", "output=same.safetensors", "overwrite=true") == (
        "output=same.safetensors: is the checkpoint itself; choose another name"
    )
    (work_folder / "a.safetensors").write_text("precious")
    assert error(source, output) == "output=a.safetensors: exists; overwrite=true replaces it"
    assert (work_folder / "a.safetensors").read_text() == "precious"
    unknown = timm.create_model("test_resnet").state_dict()
    torch.save(unknown, "unknown.pt")
    assert error("checkpoint=unknown.pt", "output=b.safetensors") == (
        "checkpoint=unknown.pt does not say which network it is for: add e.g. model=rednet50, "
        'or model=timm model.name=resnet50 (in Python model="resnet50")'
    )
    assert sorted(path.name for path in work_folder.iterdir()) == [
        "a.safetensors",
        "original.pth",
        "same.safetensors",
        "unknown.pt",
    ]
