"""Networks as programs of torch.export: folded, decomposed, for every batch and size."""

import pytest
import timm
import torch
from calibrated import calibrated

import rednet
from rednet.errors import InputError
from rednet.export import decompose, export_program, tiling, to_torch

SMALL = {"width": 0.25, "layers": (1, 1, 1, 1), "involution_stages": [2], "num_classes": 7}
SIZES = [(1, 64, 64), (3, 65, 47), (2, 32, 32), (1, 1, 1)]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return calibrated(torch.randn(4, 3, 64, 64), **SMALL)


def targets(program):
    return [str(node.target) for node in program.graph.nodes if node.op == "call_function"]


@torch.no_grad()
def test_every_batch_and_size(model):
    program = export_program(model, torch.randn(2, 3, 64, 64))
    assert "rednet.involution2d.default" in targets(program)
    for batch, height, width in SIZES:
        images = torch.randn(batch, 3, height, width)
        torch.testing.assert_close(program.module()(images), model(images))


@torch.no_grad()
def test_folded_batch_norms_give_the_same_logits(model):
    exact, images = model.double(), torch.randn(2, 3, 33, 33).double()
    program = export_program(exact, images, fold_bn=True, dynamic_size=False)
    torch.testing.assert_close(program.module()(images), exact(images), rtol=1e-9, atol=1e-9)
    norms = [node for node in program.graph.nodes if "batch_norm" in str(node.target)]
    assert all("involution2d" in str(norm.args[0].target) for norm in norms)
    assert len(norms) == 2
    model.float()


@torch.no_grad()
def test_decomposed_it_names_no_operator_of_rednet(model):
    images = torch.randn(2, 3, 33, 31)
    program = decompose(export_program(model, images, dynamic_size=False))
    assert not [target for target in targets(program) if "rednet" in target]
    content = to_torch(program, {"class_names": '["a"]'})
    assert b"involution2d" not in content and b".py" not in content
    torch.testing.assert_close(program.module()(images), model(images), rtol=1e-4, atol=1e-4)


@pytest.mark.nightly
@torch.no_grad()
def test_decomposed_for_every_batch_and_size(model):
    program = decompose(export_program(model, torch.randn(2, 3, 64, 64), fold_bn=True))
    for batch, height, width in SIZES:
        images = torch.randn(batch, 3, height, width)
        found = program.module()(images)
        torch.testing.assert_close(found, model(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("sides", [(7, 1, 3, 1), (7, 2, 3, 1), (5, 3, 8, 4), (4, 2, 1, 1)], ids=str)
def test_the_operators_in_operations_of_torch(sides):
    kernel_size, stride, padding, dilation = sides
    x = torch.randn(2, 12, 19, 17).double()
    size = [(n + 2 * padding - dilation * (kernel_size - 1) - 1) // stride + 1 for n in (19, 17)]
    weight, grad = torch.randn(2, 3 * kernel_size**2, *size), torch.randn(2, 12, *size)
    found = tiling.involution2d(x, weight.double(), *sides)
    torch.testing.assert_close(found, rednet.involution2d(x, weight.double(), *sides))
    found = tiling.grad_weight(grad.double(), x, 3, *sides)
    expected = rednet.involution2d_grad_weight(grad.double(), x, 3, *sides)
    torch.testing.assert_close(found, expected)


def test_a_network_for_one_size_needs_dynamic_size_false():
    model = timm.create_model("test_vit").eval()
    images = torch.randn(2, *model.pretrained_cfg["input_size"])
    with pytest.raises(InputError, match="dynamic_size=false exports it for images of one size"):
        export_program(model, images)
    program = export_program(model, images, dynamic_size=False)
    torch.testing.assert_close(program.module()(images[:1]), model(images[:1]))
