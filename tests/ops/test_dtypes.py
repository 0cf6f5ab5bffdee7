"""Precision: every dtype within its own tolerance, half and bfloat16 summed in float32."""

import pytest
import torch

from rednet import involution2d, involution2d_grad_input, involution2d_grad_weight

pytestmark = pytest.mark.usefixtures("each_backend")
HALVES = [torch.float16, torch.bfloat16]
WINDOW = (7, 1, 3, 1)


def rounding(exact, dtype):
    """Half a unit in the last place, and a little for the rounding of float32 sums."""
    finfo = torch.finfo(dtype)
    return (exact.abs() * finfo.eps / 2).clamp(min=finfo.smallest_normal * finfo.eps) + 1e-5


def operators(input, weight, grad, groups=2):
    size = input.shape[2:]
    return {
        "output": (involution2d(input, weight, *WINDOW)),
        "to_input": involution2d_grad_input(grad, weight, size, *WINDOW),
        "to_weight": involution2d_grad_weight(grad, input, groups, *WINDOW),
    }


def summed_in(dtype, terms):
    """A sum that rounds after each of the terms along dimension 0."""
    total = torch.zeros_like(terms[0], dtype=dtype)
    for term in terms.to(dtype):
        total += term
    return total


@pytest.mark.parametrize("dtype", HALVES)
def test_half_results_are_rounded_once(dtype, make_case, expected):
    case = make_case((15, 9), 2, WINDOW, group_width=32, dtype=dtype)
    found = operators(*case)
    for (name, tensor), exact in zip(found.items(), expected(*case, *WINDOW), strict=True):
        assert tensor.dtype == dtype
        error = (tensor.double() - exact).abs()
        assert (error <= rounding(exact, dtype)).all(), name


@pytest.mark.parametrize("dtype", HALVES)
def test_sums_in_half_would_not_pass(dtype, make_case, unfolded):
    """Rounding after every term exceeds the bound of the test above."""
    input, weight, _ = make_case((15, 9), 1, WINDOW, group_width=1, dtype=dtype)
    patches = torch.nn.functional.unfold(input.double(), 7, padding=3).unflatten(-1, (15, 9))
    careless = summed_in(dtype, (patches * weight.double()).movedim(1, 0))
    exact = unfolded(input.double(), weight.double(), *WINDOW)[:, 0]
    error = (careless.double() - exact).abs()
    assert (error > rounding(exact, dtype)).float().mean() > 0.3


def test_partial_sums_may_exceed_the_range_of_half():
    ones = torch.ones(1, 2, 7, 7, dtype=torch.float16)
    large = 3000 * ones
    signs = torch.ones(1, 49, 7, 7, dtype=torch.float16)
    signs[:, 25:] = -1
    output = involution2d(large * 7, signs, *WINDOW)
    assert output[0, 0, 3, 3] == 3000 * 7
    to_input = involution2d_grad_input(large * 7, signs, (7, 7), *WINDOW)
    assert to_input[0, 0, 3, 3] == 3000 * 7
    wide = torch.cat([ones * 300] * 8 + [ones * -300] * 8, 1)
    to_weight = involution2d_grad_weight(wide, wide.abs(), 1, *WINDOW)
    assert to_weight[0, 24].abs().max() == 0


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-13)])
def test_single_and_double(dtype, tolerance, make_case, expected):
    case = make_case((15, 9), 2, WINDOW, group_width=32, dtype=dtype)
    for found, exact in zip(operators(*case).values(), expected(*case, *WINDOW), strict=True):
        assert found.dtype == dtype
        scale = exact.abs().max()
        torch.testing.assert_close(found.double() / scale, exact / scale, rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_autograd_in_half(dtype, layout, make_case, expected):
    input, weight, grad = (
        tensor.contiguous(memory_format=layout)
        for tensor in make_case((9, 6), 2, WINDOW, dtype=dtype)
    )
    leaves = [tensor.clone().requires_grad_() for tensor in (input, weight)]
    gradients = torch.autograd.grad(involution2d(*leaves, *WINDOW), leaves, grad)
    for found, exact in zip(gradients, expected(input, weight, grad, *WINDOW)[1:], strict=True):
        assert found.dtype == dtype
        assert ((found.double() - exact).abs() <= rounding(exact, dtype)).all()
