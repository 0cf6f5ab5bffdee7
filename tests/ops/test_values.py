"""The three operators against the unfold formulation in float64."""

from itertools import product

import pytest
import torch

from rednet import involution2d, involution2d_grad_input, involution2d_grad_weight

pytestmark = pytest.mark.usefixtures("each_backend")
SIZES = [(1, 2), (2, 15), (25, 1), (33, 15)]
GROUPS = [(1, 3), (4, 1), (3, 4)]


def paddings(kernel_size, dilation):
    centred = dilation * (kernel_size - 1) // 2
    return sorted({0, 1, centred, centred + 1})


def windows(kernel_size, stride, dilation):
    return [(kernel_size, stride, padding, dilation) for padding in paddings(kernel_size, dilation)]


def has_output(size, window):
    kernel_size, _, padding, dilation = window
    return min(size) + 2 * padding > dilation * (kernel_size - 1)


def assert_as_expected(case, groups, window, expected):
    input, weight, grad = case
    output, to_input, to_weight = expected(input, weight, grad, *window)
    torch.testing.assert_close(involution2d(input, weight, *window), output)
    torch.testing.assert_close(
        involution2d_grad_input(grad, weight, input.shape[2:], *window), to_input
    )
    torch.testing.assert_close(involution2d_grad_weight(grad, input, groups, *window), to_weight)


@pytest.mark.parametrize("dilation", [1, 2, 3])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel_size", [1, 2, 3, 5, 7])
def test_values_and_gradients_of_every_window(kernel_size, stride, dilation, make_case, expected):
    checked = 0
    for number, (window, size) in enumerate(product(windows(kernel_size, stride, dilation), SIZES)):
        if has_output(size, window):
            groups, group_width = GROUPS[number % len(GROUPS)]
            case = make_case(size, groups, window, group_width=group_width)
            assert_as_expected(case, groups, window, expected)
            checked += 1
    assert checked >= 4


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (15, 25), (25, 33), (33, 2)])
@pytest.mark.parametrize(("groups", "group_width"), [(1, 1), (1, 6), (6, 1), (2, 5)])
@pytest.mark.parametrize("stride", [1, 2])
def test_values_and_gradients_of_the_networks_window(
    size, groups, group_width, stride, make_case, expected
):
    window = (7, stride, 3, 1)
    case = make_case(size, groups, window, group_width=group_width)
    assert_as_expected(case, groups, window, expected)


@pytest.mark.parametrize("window", [(3, 1, 1, 1), (5, 2, 0, 1), (3, 3, 2, 2)])
def test_autograd_gives_the_same_gradients(window, make_case, expected):
    input, weight, grad = make_case((15, 10), 2, window)
    leaves = [tensor.clone().requires_grad_() for tensor in (input, weight)]
    found = torch.autograd.grad(involution2d(*leaves, *window), leaves, grad)
    torch.testing.assert_close(found, expected(input, weight, grad, *window)[1:])


def test_the_formula_of_the_documentation():
    input, weight = torch.randn(1, 4, 5, 6), torch.randn(1, 2 * 9, 3, 3)
    output = involution2d(input, weight, 3, stride=2, padding=1)
    padded = torch.nn.functional.pad(input, [1] * 4)
    channel, row, column = 3, 1, 2
    total = sum(
        weight[0, (channel // 2) * 9 + kh * 3 + kw, row, column]
        * padded[0, channel, row * 2 + kh, column * 2 + kw]
        for kh in range(3)
        for kw in range(3)
    )
    torch.testing.assert_close(output[0, channel, row, column], total)


def test_one_kernel_everywhere_is_a_convolution_of_each_channel():
    input, kernel = torch.randn(2, 6, 9, 8).double(), torch.randn(6, 1, 5, 5).double()
    weight = kernel.reshape(1, 150, 1, 1).expand(2, -1, 5, 4)
    convolved = torch.nn.functional.conv2d(input, kernel, stride=2, padding=2, groups=6)
    torch.testing.assert_close(involution2d(input, weight, 5, 2, 2), convolved)


def test_the_keyword_names_are_conv2ds(make_case):
    input, weight, grad = make_case((9, 9), 2, (3, 2, 1, 1))
    window = {"kernel_size": 3, "stride": 2, "padding": 1, "dilation": 1}
    assert involution2d(input=input, weight=weight, **window).shape == grad.shape
    to_input = involution2d_grad_input(grad=grad, weight=weight, input_size=(9, 9), **window)
    assert to_input.shape == input.shape
    to_weight = involution2d_grad_weight(grad=grad, input=input, groups=2, **window)
    assert to_weight.shape == weight.shape


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_an_empty_batch(layout, make_case):
    window = (3, 2, 1, 1)
    input, weight, grad = (
        tensor.contiguous(memory_format=layout).requires_grad_()
        for tensor in make_case((5, 4), 2, window, batch=0)
    )
    output = involution2d(input, weight, *window)
    gradients = torch.autograd.grad(output, (input, weight), grad, create_graph=True)
    second = torch.autograd.grad(sum(g.sum() for g in gradients), (input, weight, grad))
    shapes = [tensor.shape for tensor in (output, *gradients, *second)]
    assert shapes == [t.shape for t in (grad, input, weight, input, weight, grad)]


def test_the_same_bits_every_time(make_case):
    window = (7, 2, 3, 1)
    input, weight, grad = make_case((33, 15), 2, window, group_width=16, dtype=torch.float32)

    def once():
        leaves = [tensor.clone().requires_grad_() for tensor in (input, weight)]
        output = involution2d(*leaves, *window)
        return output, *torch.autograd.grad(output, leaves, grad)

    first = once()
    for _ in range(3):
        assert all(map(torch.equal, once(), first))
