"""An involution with scale, shift and ReLU: layouts, gradients, backends and wrong arguments."""

from dataclasses import replace

import pytest
import torch

from rednet import ops
from rednet.ops import involution2d, involution2d_affine, torch_ops

WINDOW = (3, 2, 1, 1)


@pytest.fixture
def case(make_case):
    input, weight, _ = make_case((9, 8), 2, WINDOW, dtype=torch.float32)
    return input, weight, torch.randn(6), torch.randn(6)


def composition(input, weight, scale, shift, relu=True):
    output = involution2d(input, weight, *WINDOW)
    output = output * scale[:, None, None] + shift[:, None, None]
    return output.relu() if relu else output


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("relu", [False, True])
def test_values(each_backend, make_case, assert_affine_accurate, dtype, relu):
    input, weight, _ = make_case((9, 8), 2, WINDOW, dtype=dtype)
    assert_affine_accurate(input, weight, WINDOW, relu)


def test_its_layout_is_that_of_the_involution(each_backend, case):
    for layout in (torch.contiguous_format, torch.channels_last):
        input = case[0].contiguous(memory_format=layout)
        found = involution2d_affine(input, *case[1:], *WINDOW)
        assert found.stride() == involution2d(input, case[1], *WINDOW).stride()


def test_opcheck(case):
    torch.library.opcheck(torch_ops.involution2d_affine, (*case, True, *WINDOW))


def test_gradients_are_those_of_the_composition(case):
    leaves = [tensor.double().requires_grad_() for tensor in case]
    found = involution2d_affine(*leaves, *WINDOW, relu=True)
    torch.testing.assert_close(found, composition(*leaves))
    found, expected = (
        torch.autograd.grad(output.square().sum(), leaves)
        for output in (found, composition(*leaves))
    )
    torch.testing.assert_close(found, expected)


def test_the_operator_alone_has_no_gradient(case):
    output = torch_ops.involution2d_affine(case[0].requires_grad_(), *case[1:], True, *WINDOW)
    with pytest.raises(RuntimeError, match="no autograd formula was registered"):
        output.sum().backward()


def test_a_backend_may_lack_it(case):
    plain = replace(ops.registered_backends()[-1], name="plain", involution2d_affine=None)
    with ops.register_backend(plain), ops.backend("plain"):
        found = involution2d_affine(*case, *WINDOW, relu=True)
    torch.testing.assert_close(found, composition(*case))


def test_infinities_and_nan_pass(each_backend, case):
    case[2][:3] = torch.tensor([torch.nan, torch.inf, 0.0])
    torch.testing.assert_close(
        involution2d_affine(*case, *WINDOW, relu=True), composition(*case), equal_nan=True
    )


@pytest.mark.parametrize(
    ("place", "tensor", "message"),
    [
        (2, torch.ones(5), r"scale must have one number for each of 6 channels, .*\(5,\)"),
        (3, torch.ones(6, 1), r"shift must have one number for each of 6 channels, .*\(6, 1\)"),
        (2, torch.ones(6, dtype=torch.float64), "scale must be torch.float32 for an input of"),
        (3, torch.ones(6, device="meta"), "shift must be on cpu, got meta"),
    ],
)
def test_wrong_arguments(case, place, tensor, message):
    arguments = list(case)
    arguments[place] = tensor
    with pytest.raises(ValueError, match=message):
        involution2d_affine(*arguments, *WINDOW)
