"""Wrong arguments: a ValueError that names the offending sizes, in eager mode and in fake mode."""

import numpy as np
import pytest
import torch
from torch._subclasses import FakeTensorMode

from rednet import involution2d, involution2d_grad_input, involution2d_grad_weight

ONES = {"input": (2, 6, 5, 4), "weight": (2, 18, 5, 4), "grad": (2, 6, 5, 4)}


def call(operator, **changes):
    """Call an operator on tensors of ones; `changes` are shapes, or arguments of the window."""
    window = {"kernel_size": 3, "padding": 1}
    window.update({key: value for key, value in changes.items() if isinstance(value, int)})
    groups = window.pop("groups", 2)
    shapes = {**ONES, **{key: value for key, value in changes.items() if key in ONES}}
    tensors = {name: torch.ones(shape) for name, shape in shapes.items()}
    input, weight, grad = (tensors[name] for name in ("input", "weight", "grad"))
    if operator == "involution2d":
        return involution2d(input, weight, **window)
    if operator == "grad_input":
        size = changes.get("input_size", (5, 4))
        return involution2d_grad_input(grad, weight, size, **window)
    return involution2d_grad_weight(grad, input, groups, **window)


CASES = [
    ("involution2d", {"input": (6, 5, 4)}, r"input must have 4 dimensions, got shape \(6, 5, 4\)"),
    ("involution2d", {"weight": (2, 18)}, r"weight must have 4 dimensions, got shape \(2, 18\)"),
    ("involution2d", {"weight": (3, 18, 5, 4)}, "same batch size, got 2 and 3"),
    ("involution2d", {"weight": (2, 17, 5, 4)}, r"multiple of K\*K = 9 channels, got 17"),
    ("involution2d", {"weight": (2, 0, 5, 4)}, r"multiple of K\*K = 9 channels, got 0"),
    ("involution2d", {"weight": (2, 36, 5, 4)}, "6 channels cannot be divided into 4 groups"),
    ("involution2d", {"weight": (2, 18, 4, 4)}, r"\(5, 4\) pixels .*\(5, 4\) outputs.*\(4, 4\)"),
    ("involution2d", {"padding": 0}, r"\(5, 4\) pixels .*\(3, 2\) outputs.*\(5, 4\)"),
    ("involution2d", {"stride": 2}, r"\(5, 4\) pixels .*\(3, 2\) outputs.*\(5, 4\)"),
    ("involution2d", {"dilation": 4}, r"\(5, 4\) pixels is smaller than .*dilation=4"),
    ("involution2d", {"kernel_size": 0}, "kernel_size must be at least 1, got 0"),
    ("involution2d", {"stride": 0}, "stride must be at least 1, got 0"),
    ("involution2d", {"dilation": -1}, "dilation must be at least 1, got -1"),
    ("involution2d", {"padding": -1}, "padding must not be negative, got -1"),
    ("grad_input", {"grad": (2, 6, 5)}, r"grad must have 4 dimensions, got shape \(2, 6, 5\)"),
    ("grad_input", {"grad": (1, 6, 5, 4)}, "grad and weight .*batch size, got 1 and 2"),
    ("grad_input", {"grad": (2, 7, 5, 4)}, "7 channels cannot be divided into 2 groups"),
    ("grad_input", {"grad": (2, 6, 5, 5)}, r"\(5, 4\) outputs, got a tensor for \(5, 5\)"),
    ("grad_input", {"weight": (2, 18, 4, 4)}, r"\(5, 4\) outputs, got a tensor for \(4, 4\)"),
    ("grad_input", {"input_size": (6, 4)}, r"\(6, 4\) pixels .*\(6, 4\) outputs.*\(5, 4\)"),
    ("grad_input", {"weight": (2, 10, 5, 4)}, r"multiple of K\*K = 9 channels, got 10"),
    ("grad_weight", {"input": (2, 6, 5)}, r"input must have 4 dimensions, got shape \(2, 6, 5\)"),
    ("grad_weight", {"input": (2, 8, 5, 4)}, "grad has 6 channels, input 8"),
    ("grad_weight", {"input": (3, 6, 5, 4)}, "grad and input .*batch size, got 2 and 3"),
    ("grad_weight", {"groups": 4}, "6 channels cannot be divided into 4 groups"),
    ("grad_weight", {"groups": 0}, "6 channels cannot be divided into 0 groups"),
    ("grad_weight", {"grad": (2, 6, 5, 5)}, r"\(5, 4\) outputs, got a tensor for \(5, 5\)"),
]


@pytest.mark.parametrize("fake", [False, True])
@pytest.mark.parametrize(("operator", "changes", "message"), CASES)
def test_the_message_names_the_mismatch(operator, changes, message, fake):
    with FakeTensorMode() if fake else torch.no_grad():
        assert call(operator) is not None
        with pytest.raises(ValueError, match=message):
            call(operator, **changes)


@pytest.mark.parametrize("convert", [torch.Tensor.double, torch.Tensor.half])
def test_dtypes_must_agree(convert):
    first, second, third = torch.ones(1, 2, 3, 3), torch.ones(1, 9, 3, 3), torch.ones(1, 2, 3, 3)
    calls = [
        lambda: involution2d(convert(first), second, 3, 1, 1),
        lambda: involution2d_grad_input(third, convert(second), (3, 3), 3, 1, 1),
        lambda: involution2d_grad_weight(convert(third), first, 1, 3, 1, 1),
    ]
    for operator in calls:
        with pytest.raises(ValueError, match=r"same dtype, got torch\.float\d\d and torch\.f"):
            operator()


def test_integers_are_rejected():
    with pytest.raises(ValueError, match=r"input must be a floating-point tensor.*int64"):
        involution2d(torch.ones(1, 2, 3, 3).long(), torch.ones(1, 9, 3, 3).long(), 3, 1, 1)
    with pytest.raises(ValueError, match=r"floating-point tensor.*complex64"):
        involution2d(torch.ones(1, 2, 3, 3).cfloat(), torch.ones(1, 9, 3, 3).cfloat(), 3, 1, 1)


def test_devices_must_agree():
    weight = torch.ones(1, 9, 3, 3, device="meta")
    with pytest.raises(ValueError, match="same device, got cpu and meta"):
        involution2d(torch.ones(1, 2, 3, 3), weight, 3, 1, 1)


@pytest.mark.parametrize(
    "equal", [(3, 3), [3, 3], torch.Size([3, 3]), np.int64(3), torch.tensor(3)]
)
def test_pairs_of_equal_sides(equal):
    input, weight = torch.randn(1, 2, 6, 6), torch.randn(1, 9, 6, 6)
    found = involution2d(input, weight, equal, (1, 1), [1, 1], (1, 1))
    assert torch.equal(found, involution2d(input, weight, 3, 1, 1))


@pytest.mark.parametrize(
    ("sides", "message"),
    [
        (((3, 5), 1, 1, 1), r"kernel_size must be an integer or a pair .* square; got \(3, 5\)"),
        ((3, (1, 2), 1, 1), r"stride must be an integer or a pair of equal ones, .*\(1, 2\)"),
        ((3, 1, (1, 0), 1), r"padding must be an integer or a pair of equal ones, .*\(1, 0\)"),
        ((3, 1, 1, (1, 1, 1)), r"dilation must be an integer or a pair .*\(1, 1, 1\)"),
        (((), 1, 1, 1), r"kernel_size must be an integer or a pair of equal ones, .*got \(\)"),
        ((3.0, 1, 1, 1), r"kernel_size must be an integer, got 3\.0"),
        ((3, 1, "same", 1), "padding must be an integer, got 'same'"),
        ((3, (None, None), 1, 1), "stride must be an integer, got None"),
    ],
)
def test_other_sides_are_refused(sides, message):
    with pytest.raises(ValueError, match=message):
        involution2d(torch.ones(1, 2, 6, 6), torch.ones(1, 9, 6, 6), *sides)


def test_other_arguments_are_refused():
    x, weight = torch.ones(1, 2, 3, 3), torch.ones(1, 9, 3, 3)
    with pytest.raises(ValueError, match=r"input_size must be \(height, width\), got 3"):
        involution2d_grad_input(x, weight, 3, 3, 1, 1)
    with pytest.raises(ValueError, match=r"groups must be an integer, got 1\.0"):
        involution2d_grad_weight(x, x, 1.0, 3, 1, 1)
    with pytest.raises(ValueError, match="takes two tensors, got ndarray"):
        involution2d(x.numpy(), weight, 3, 1, 1)
    with pytest.raises(
        ValueError, match=r"weight must be a dense tensor, got layout torch\.sparse"
    ):
        involution2d(x, weight.to_sparse(), 3, 1, 1)
