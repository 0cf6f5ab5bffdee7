"""Networks and single operators as ONNX, run by ONNX Runtime and by OpenVINO."""

import json

import pytest
import torch
from calibrated import calibrated
from onnx_runtimes import in_onnxruntime, in_openvino, subject_of
from photographs import load_photographs
from torch import nn

import rednet
from rednet.errors import InputError
from rednet.export import Options, onnx_file, write_program

onnx = pytest.importorskip("onnx", reason="needs pip install onnx")
pytest.importorskip("onnxscript", reason="needs pip install onnxscript")
pytest.importorskip("onnxruntime", reason="needs pip install onnxruntime")

SMALL = {"width": 0.25, "layers": (1, 1, 1, 1), "num_classes": 7}
ATTENTION = {"softmax": True, "relative_position": True}
OPTIONS = {
    "default": {},
    "attention": {"generator": "attention", "output_stride": 8},
    "softmax": {"generator": "attention", "generator_options": ATTENTION, "stem": "small"},
    "linear": {"generator": "linear", "stem": "conv7", "reduction": 2, "kernel_size": 3},
    "layer": {"group_channels": "layer", "stem": "involution7", "global_pool": "catavgmax"},
    "hybrid": {"involution_stages": [2, 4], "act_layer": "gelu", "norm_layer": "groupnorm1"},
}
NETWORKS = [
    pytest.param({"involution_stages": [2], "stem": "conv7"}, id="one involution"),
    *(pytest.param(o, id=name, marks=pytest.mark.nightly) for name, o in OPTIONS.items()),
]
SIZES = [(1, 64, 64), (3, 65, 47), (2, 32, 32)]


@pytest.fixture(scope="module", params=NETWORKS)
def exported(request):
    """A network and the content of its ONNX file."""
    torch.manual_seed(0)
    model = calibrated(torch.randn(4, 3, 64, 64), **SMALL, **request.param)
    return model, write_program(subject_of(model), "onnx", Options())


@pytest.mark.parametrize("run", [in_onnxruntime, in_openvino])
@torch.no_grad()
def test_the_logits_of_every_batch_and_size(exported, run):
    model, data = exported
    found = run(data)
    for batch, height, width in SIZES:
        images = torch.randn(batch, 3, height, width)
        torch.testing.assert_close(found(images), model(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("run", [in_onnxruntime, in_openvino])
@torch.no_grad()
def test_photographs_have_the_same_class(exported, run):
    model, data = exported
    found = run(data)
    for batch, size in [(1, 224), (3, 225)]:
        images = load_photographs(size, every=40)[:batch]
        logits, expected = found(images), model(images)
        assert (logits - expected).abs().max() / expected.abs().max() < 1e-4
        assert torch.equal(logits.argmax(1), expected.argmax(1))


def test_the_file_has_operators_of_the_standard_only(exported):
    model = onnx.load_from_string(exported[1])
    onnx.checker.check_model(model, full_check=True)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 18)]
    assert {node.domain for node in model.graph.node} == {""}
    assert not model.functions
    # ONNX Runtime prints a warning about each one whenever it opens the file.
    assert "CastLike" not in {node.op_type for node in model.graph.node}
    (images,) = model.graph.input
    sizes = [each.dim_param or each.dim_value for each in images.type.tensor_type.shape.dim]
    assert (images.name, sizes) == ("images", ["batch", 3, "height", "width"])
    assert [output.name for output in model.graph.output] == ["logits"]


def test_the_file_tells_classes_and_preprocessing_and_nothing_of_this_machine(exported):
    model = onnx.load_from_string(exported[1])
    found = {each.key: json.loads(each.value) for each in model.metadata_props}
    assert found["class_names"] == ["ä", "b"]
    assert found["preprocessing"]["mean"] == [0.5, 0.4, 0.3]
    assert found["network"]["name"] == "rednet26"
    assert b"site-packages" not in exported[1] and b".py" not in exported[1]


def test_batch_norms_are_folded_into_the_convolutions(exported):
    nodes = onnx.load_from_string(exported[1]).graph.node
    convolutions = {node.output[0] for node in nodes if node.op_type == "Conv"}
    norms = [node for node in nodes if node.op_type == "BatchNormalization"]
    assert not [norm for norm in norms if norm.input[0] in convolutions]


WINDOWS = [
    # kernel_size, stride, padding, dilation, (height, width)
    (7, 2, 3, 1, (15, 8)),
    (5, 3, 8, 4, (17, 30)),
    pytest.param((3, 1, 20, 20, (24, 25)), marks=pytest.mark.nightly),
    pytest.param((4, 2, 1, 1, (9, 10)), marks=pytest.mark.nightly),
]


class BothOperators(nn.Module):
    """An involution, and one whose kernels are scores of self-attention."""

    def __init__(self, *sides: int) -> None:
        super().__init__()
        self.sides = sides

    def forward(self, x, query):
        scores = rednet.involution2d_grad_weight(query, x, 3, *self.sides)
        return rednet.involution2d(x, scores, *self.sides)


@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_the_operators_with_every_window(window):
    *sides, size = window
    kernel_size, stride, padding, dilation = sides
    model = BothOperators(*sides)
    x = torch.randn(2, 12, *size)
    query = torch.randn(
        2, 12, *((n + 2 * padding - dilation * (kernel_size - 1) - 1) // stride + 1 for n in size)
    )
    program = torch.export.export(model, (x, query))
    data = onnx_file.to_onnx(program, {}, {"x": {}, "query": {}})
    torch.testing.assert_close(in_onnxruntime(data)(x, query), model(x, query))


def test_missing_packages_are_one_line(monkeypatch):
    monkeypatch.setattr(onnx_file, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"needs the package onnx: pip install onnx onnxscript"):
        onnx_file.require_onnx()


@pytest.mark.filterwarnings("ignore")
def test_the_legacy_exporter_names_the_command(tmp_path, make_tiny, images):
    with pytest.raises(NotImplementedError, match="python -m rednet export") as error:
        torch.onnx.export(make_tiny().eval(), (images(),), tmp_path / "a.onnx", dynamo=False)
    assert len(str(error.value).splitlines()) == 1
