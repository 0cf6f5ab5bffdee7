"""Autocast: the operators are cast as convolutions are."""

import pytest
import torch

from rednet import involution2d, involution2d_grad_input, involution2d_grad_weight

WINDOW = (3, 1, 1, 1)


def operators(input, weight, grad):
    return [
        involution2d(input, weight, *WINDOW),
        involution2d_grad_input(grad, weight, (9, 6), *WINDOW),
        involution2d_grad_weight(grad, input, 2, *WINDOW),
    ]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_single_precision_is_cast(dtype, make_case):
    case = make_case((9, 6), 2, WINDOW, dtype=torch.float32)
    with torch.autocast("cpu", dtype):
        found = operators(*case)
    by_hand = operators(*(tensor.to(dtype) for tensor in case))
    assert all(map(torch.equal, found, by_hand))


def test_gradients_have_the_dtype_of_their_tensors(make_case):
    input, weight, _ = make_case((9, 6), 2, WINDOW, dtype=torch.float32)
    leaves = [input.requires_grad_(), weight.requires_grad_()]
    with torch.autocast("cpu", torch.bfloat16):
        output = involution2d(*leaves, *WINDOW)
    assert output.dtype == torch.bfloat16
    output.float().square().sum().backward()
    assert [leaf.grad.dtype for leaf in leaves] == [torch.float32] * 2


def test_mixed_precisions(make_case):
    input, weight, _ = make_case((9, 6), 2, WINDOW, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        output = involution2d(input.bfloat16(), weight, *WINDOW)
    assert torch.equal(output, involution2d(input.bfloat16(), weight.bfloat16(), *WINDOW))


def test_double_precision_is_not_cast(make_case):
    case = make_case((9, 6), 2, WINDOW)
    plain = operators(*case)
    with torch.autocast("cpu", torch.bfloat16):
        found = operators(*case)
    assert [tensor.dtype for tensor in found] == [torch.float64] * 3
    assert all(map(torch.equal, found, plain))


def test_disabled_within_autocast(make_case):
    case = make_case((9, 6), 2, WINDOW, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16), torch.autocast("cpu", enabled=False):
        assert {tensor.dtype for tensor in operators(*case)} == {torch.float32}


def test_a_device_without_autocast(make_case):
    shapes = [tensor.shape for tensor in make_case((9, 6), 2, WINDOW)]
    input, weight, grad = (torch.empty(shape, device="meta") for shape in shapes)
    output, to_input, to_weight = operators(input, weight, grad)
    assert [output.shape, to_input.shape, to_weight.shape] == [
        grad.shape,
        input.shape,
        weight.shape,
    ]
