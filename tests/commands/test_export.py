"""Export a checkpoint, as a user does, and run what is printed."""

import json

import numpy as np
import pytest
import torch
from calibrated import calibrated
from PIL import Image

from rednet import commands

SMALL = {"width": 0.25, "layers": [1, 1, 1, 1], "involution_stages": [3]}
PREPROCESSING = {
    "image_size": 32,
    "crop_pct": 0.875,
    "interpolation": "bilinear",
    "mean": (0.5, 0.4, 0.3),
    "std": (0.25, 0.25, 0.25),
}
ONNX = ("checkpoint=small.pt", "output=small.onnx")
TORCH = ("checkpoint=small.pt", "output=small.pt2", "format=torch_export")


@pytest.fixture
def small(work_folder):
    """A checkpoint of a small network in the working directory."""
    torch.manual_seed(0)
    model = calibrated(torch.randn(4, 3, 32, 32), num_classes=3, **SMALL)
    content = {
        "format": "rednet-2",
        "model": {"name": "rednet26", "options": SMALL},
        "state_dict": model.state_dict(),
        "preprocessing": PREPROCESSING,
        "class_names": ["cat", "dog", "Hölle"],
    }
    torch.save(content, "small.pt")
    pixels = np.random.default_rng(0).integers(0, 255, (40, 48, 3), np.uint8)
    Image.fromarray(pixels).save("image.jpg")
    return model


@pytest.fixture
def export(capsys):
    """Export with the given overrides."""

    def run(*argv):
        capsys.readouterr()
        code = commands.export(list(argv))
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def predicted(fresh_python):
    """Return a function that runs the printed lines and returns what they print."""

    def run(out, *, without_rednet=False):
        _, _, snippet = out.partition("to run it:\n\n")
        block = "import sys; sys.modules['rednet'] = None\n" if without_rednet else ""
        return fresh_python(block + snippet, PYTHONIOENCODING="utf-8").strip()

    return run


@torch.no_grad()
def in_torch(model):
    """Name the class as our own evaluation does."""
    from rednet.data import Preprocessing, eval_transform

    image = eval_transform(Preprocessing(**PREPROCESSING))(Image.open("image.jpg"))
    return ["cat", "dog", "Hölle"][model(image[None]).argmax()]


def test_onnx(small, export, predicted, work_folder):
    onnx = pytest.importorskip("onnx", reason="needs pip install onnx")
    pytest.importorskip("onnxruntime", reason="needs pip install onnxruntime")
    code, out, err = export(*ONNX, "dynamic_size=false")
    assert (code, err) == (0, "")
    size = (work_folder / "small.onnx").stat().st_size
    lines = out.splitlines()
    assert lines[0].startswith("small.pt (rednet): rednet26 ")
    assert lines[1] == "images of 32 px and 3 channels, 3 class names"
    assert lines[2].startswith("checked in ONNX Runtime: relative error ")
    assert lines[3] == f"wrote small.onnx: {size:,} bytes; to run it:"
    assert predicted(out, without_rednet=True) == in_torch(small)
    found = {p.key: json.loads(p.value) for p in onnx.load("small.onnx").metadata_props}
    assert found["class_names"] == ["cat", "dog", "Hölle"]
    assert found["preprocessing"] == json.loads(json.dumps(PREPROCESSING))


@pytest.mark.nightly
def test_torch_export(small, export, predicted):
    code, out, err = export(*TORCH, "dynamic_size=false")
    assert (code, err) == (0, "")
    assert "checked in torch.export.load: relative error " in out
    assert predicted(out) == in_torch(small)


def test_decomposed_it_runs_without_rednet(small, export, predicted):
    code, out, err = export(*TORCH, "decompose=true", "dynamic_size=false")
    assert (code, err) == (0, "")
    assert predicted(out, without_rednet=True) == in_torch(small)


AOTI = ("checkpoint=small.pt", "output=small.pt2", "format=aoti")


@pytest.mark.nightly  # compiles the network
@pytest.mark.parametrize("decompose", [False, True])
def test_aoti(small, export, predicted, decompose):
    code, out, err = export(*AOTI, f"decompose={decompose}".lower())
    assert (code, err) == (0, "")
    assert "images of 32 px and 3 channels, 3 class names" in out
    assert "checked in aoti_load_package: relative error " in out
    assert predicted(out, without_rednet=decompose) == in_torch(small)
    if not decompose:
        with pytest.raises(AssertionError, match="involution2d_affine"):
            predicted(out.replace("_inductor, rednet", "_inductor"), without_rednet=True)


MISTAKES = [
    (
        (*AOTI, "dynamic_size=true"),
        "dynamic_size=true: format=aoti compiles for images of one size",
    ),
    ((*AOTI, "fold_bn=false"), "fold_bn=false: format=aoti always folds batch normalisation"),
    ((), "checkpoint=FILE is needed: the network to export"),
    (("checkpoint=small.pt",), "output=FILE.onnx is needed: the file to write"),
    ((*ONNX, "format=torch_export"), "output=small.onnx: must end in .pt2 for format=torch_export"),
    (
        (*ONNX, "decompose=true"),
        "decompose: has no effect, format=onnx has no operator of rednet anyway",
    ),
]


@pytest.mark.parametrize(("argv", "message"), MISTAKES, ids=str)
def test_a_mistake_is_one_line(argv, message, export):
    assert export(*argv) == (2, "", f"error: {message}\n")


def test_torchscript_is_answered_with_what_to_use(export):
    code, _, err = export(*ONNX, "format=torchscript")
    assert code == 2
    assert "torch_export" in err and len(err.splitlines()) == 1


def test_an_output_is_not_replaced_unasked(small, export, work_folder):
    (work_folder / "small.pt2").write_text("precious")
    code, _, err = export(*TORCH)
    assert (code, err) == (2, "error: output=small.pt2: exists; overwrite=true replaces it\n")
    assert (work_folder / "small.pt2").read_text() == "precious"
