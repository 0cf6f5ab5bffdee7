"""Derivatives of every order, and torch's checks of an operator."""

from functools import partial

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from rednet import involution2d, involution2d_grad_input, involution2d_grad_weight

pytestmark = pytest.mark.usefixtures("each_backend")
WINDOWS = [(1, 1, 0, 1), (2, 1, 1, 1), (3, 2, 1, 1), (3, 1, 2, 2), (3, 3, 0, 1)]
SIZE = (5, 4)
GROUPS = 2


@pytest.fixture
def operators(make_case):
    """Return for a window each operator by name, with the two tensors it is checked on."""

    def make(window, dtype=torch.float64, layout=torch.contiguous_format):
        input, weight, grad = (
            tensor.contiguous(memory_format=layout).requires_grad_()
            for tensor in make_case(SIZE, GROUPS, window, 1, group_width=2, dtype=dtype)
        )
        return {
            "involution2d": (lambda a, b: involution2d(a, b, *window), input, weight),
            "grad_input": (
                lambda a, b: involution2d_grad_input(a, b, SIZE, *window),
                grad,
                weight,
            ),
            "grad_weight": (
                lambda a, b: involution2d_grad_weight(a, b, GROUPS, *window),
                grad,
                input,
            ),
        }

    return make


NAMES = ["involution2d", "grad_input", "grad_weight"]


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("name", NAMES)
def test_first_and_second_derivatives(name, window, operators):
    operator, *tensors = operators(window)[name]
    assert gradcheck(operator, tensors)
    assert gradgradcheck(operator, tensors, fast_mode=True)


@pytest.fixture(params=NAMES)
def named(request, operators):
    return partial(lambda name, *args: operators(*args)[name], request.param)


def test_derivatives_in_channels_last(named):
    operator, *tensors = named((3, 2, 1, 1), torch.float64, torch.channels_last)
    assert gradcheck(operator, tensors)
    assert gradgradcheck(operator, tensors, fast_mode=True)


def test_only_needed_gradients_are_computed(named):
    operator, first, second = named((3, 2, 1, 1))
    for needed, other in ((first, second), (second, first)):
        pair = [tensor if tensor is needed else tensor.detach() for tensor in (first, second)]
        output = operator(*pair)
        (found,) = torch.autograd.grad(output.sum(), needed)
        (both, _) = torch.autograd.grad(operator(first, second).sum(), (needed, other))
        assert torch.equal(found, both)


def test_third_derivatives(make_case):
    window = (3, 1, 1, 1)
    input, weight, grad = (
        tensor.requires_grad_() for tensor in make_case((2, 2), 1, window, 1, group_width=1)
    )

    def second_gradient(input, weight, grad):
        output = involution2d(input, weight, *window)
        first = torch.autograd.grad(output, input, grad, create_graph=True)
        return torch.autograd.grad(first[0].pow(3).sum(), grad, create_graph=True)

    assert gradcheck(second_gradient, (input, weight, grad))


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_opcheck(layout, dtype, make_case):
    window = (3, 2, 1, 1)
    input, weight, grad = (
        tensor.contiguous(memory_format=layout).requires_grad_()
        for tensor in make_case(SIZE, GROUPS, window, dtype=dtype)
    )
    library = torch.ops.rednet
    tests = ["test_schema", "test_autograd_registration", "test_faketensor"]
    if dtype == torch.float32:
        tests.append("test_aot_dispatch_dynamic")
    for operator, arguments in (
        (library.involution2d, (input, weight, *window)),
        (library.involution2d_grad_input, (grad, weight, *SIZE, *window)),
        (library.involution2d_grad_weight, (grad, input, GROUPS, *window)),
    ):
        torch.library.opcheck(operator.default, arguments, test_utils=tests)


@pytest.mark.parametrize("view", ["mixed", "transposed", "one_pixel", "part"])
def test_opcheck_on_unusual_layouts(view, make_case):
    window = (3, 1, 1, 1)
    size = (1, 1) if view == "one_pixel" else SIZE
    input, weight, grad = make_case(size, GROUPS, window, dtype=torch.float32)
    if view == "mixed":
        input = input.contiguous(memory_format=torch.channels_last)
    if view == "part":
        doubled = torch.cat([weight, weight], 1)
        weight = doubled.contiguous(memory_format=torch.channels_last)[:, : weight.shape[1]]
    if view == "transposed":
        weight = weight.transpose(2, 3).contiguous().transpose(2, 3)
        grad = grad.transpose(0, 1).contiguous().transpose(0, 1)
    library = torch.ops.rednet
    for operator, arguments in (
        (library.involution2d, (input, weight, *window)),
        (library.involution2d_grad_input, (grad, weight, *size, *window)),
        (library.involution2d_grad_weight, (grad, input, GROUPS, *window)),
    ):
        torch.library.opcheck(operator.default, arguments, test_utils="test_faketensor")
