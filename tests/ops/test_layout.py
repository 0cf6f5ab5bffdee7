"""Memory layouts: which are accepted, and which layout results have."""

from itertools import product

import pytest
import torch

from rednet import involution2d, involution2d_grad_input, involution2d_grad_weight

pytestmark = pytest.mark.usefixtures("each_backend")
WINDOW = (3, 2, 1, 1)
GROUPS = 2

VIEWS = {
    "contiguous": lambda t: t.contiguous(),
    "channels_last": lambda t: t.contiguous(memory_format=torch.channels_last),
    "transposed": lambda t: t.transpose(2, 3).contiguous().transpose(2, 3),
    "batch_last": lambda t: t.permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2),
    "sliced": lambda t: torch.cat([t, t], 3)[..., : t.shape[3]],
    "strided": lambda t: t.repeat_interleave(2, 1)[:, ::2],
    "offset": lambda t: torch.cat([t[:1], t])[1:],
}


def is_channels_last(tensor):
    return tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous()


def assert_fresh(tensor, *arguments, channels_last):
    """Return a dense copy in one layout or the other."""
    assert is_channels_last(tensor) if channels_last else tensor.is_contiguous()
    assert tensor._base is None
    assert tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
    owners = [argument.untyped_storage().data_ptr() for argument in arguments]
    assert tensor.untyped_storage().data_ptr() not in owners


def operators(input, weight, grad, size):
    """Each operator with its two tensors."""
    return [
        (lambda a, b: involution2d(a, b, *WINDOW), input, weight),
        (lambda a, b: involution2d_grad_input(a, b, size, *WINDOW), grad, weight),
        (lambda a, b: involution2d_grad_weight(a, b, GROUPS, *WINDOW), grad, input),
    ]


def pairs_of_views():
    """Every pair of views, with the two dtypes in turn."""
    for number, pair in enumerate(product(VIEWS, VIEWS)):
        yield *pair, (torch.float64, torch.bfloat16)[number % 2]


@pytest.mark.parametrize(("one", "other", "dtype"), list(pairs_of_views()))
def test_any_view_gives_the_same_values_and_the_expected_layout(one, other, dtype, make_case):
    case = make_case((9, 6), GROUPS, WINDOW, dtype=dtype)
    for operator, first, second in operators(*case, (9, 6)):
        plain = operator(first, second)
        views = VIEWS[one](first), VIEWS[other](second)
        found = operator(*views)
        torch.testing.assert_close(found, plain, rtol=0, atol=0)
        assert_fresh(found, *views, channels_last="channels_last" in (one, other))


@pytest.mark.parametrize("of_grad", ["contiguous", "channels_last", "transposed"])
@pytest.mark.parametrize("of_weight", ["contiguous", "channels_last", "sliced"])
@pytest.mark.parametrize("of_input", ["contiguous", "channels_last", "transposed"])
def test_a_gradient_has_the_layout_of_its_tensor(of_input, of_weight, of_grad, make_case, expected):
    input, weight, grad = make_case((9, 6), GROUPS, WINDOW)
    leaves = [
        VIEWS[view](tensor).detach().requires_grad_()
        for view, tensor in ((of_input, input), (of_weight, weight), (of_grad, grad))
    ]
    output = involution2d(*leaves[:2], *WINDOW)
    gradients = torch.autograd.grad(output, leaves[:2], leaves[2], create_graph=True)
    torch.testing.assert_close(gradients, expected(input, weight, grad, *WINDOW)[1:])
    second = torch.autograd.grad(sum(g.square().sum() for g in gradients), leaves)
    for gradient, leaf in zip((*gradients, *second), (*leaves[:2], *leaves), strict=True):
        assert is_channels_last(gradient) == is_channels_last(leaf)
        assert gradient.is_contiguous() != is_channels_last(leaf)


@pytest.mark.parametrize("view", ["contiguous", "channels_last"])
def test_the_expanded_gradient_of_a_sum(view, make_case, expected):
    input, weight, grad = make_case((9, 6), GROUPS, WINDOW)
    leaves = [VIEWS[view](tensor).requires_grad_() for tensor in (input, weight)]
    involution2d(*leaves, *WINDOW).sum().backward()
    _, to_input, to_weight = expected(input, weight, torch.ones_like(grad), *WINDOW)
    torch.testing.assert_close(leaves[0].grad, to_input)
    torch.testing.assert_close(leaves[1].grad, to_weight)


@pytest.mark.parametrize("dims", [(0, 1), (2, 3)])
def test_expanded_arguments(dims, make_case, expected):
    case = make_case((9, 6), GROUPS, WINDOW)
    expanded = []
    for tensor in case:
        for dim in dims:
            tensor = tensor.narrow(dim, 0, 1)
        expanded.append(tensor.expand(case[len(expanded)].shape))
    input, weight, grad = expanded
    output, to_input, to_weight = expected(input, weight, grad, *WINDOW)
    found = [op(a, b) for op, a, b in operators(input, weight, grad, (9, 6))]
    torch.testing.assert_close(found, [output, to_input, to_weight])


@pytest.mark.parametrize("size", [(1, 1), (1, 5)])
def test_sizes_with_both_layouts(size, make_case, expected):
    window = (3, 1, 1, 1)
    for view, group_width in product(("contiguous", "channels_last"), (1, 2)):
        case = make_case(size, 1, window, group_width=group_width)
        leaves = [VIEWS[view](tensor).requires_grad_() for tensor in case]
        output = involution2d(*leaves[:2], *window)
        gradients = torch.autograd.grad(output, leaves[:2], leaves[2])
        torch.testing.assert_close((output, *gradients), expected(*case, *window))


CROPS = {
    "image": lambda t: t[:, :, 1:-1, 1:-1],
    "channels": lambda t: t[:, :6],
    "samples": lambda t: t[:1],
    "everything": lambda t: t,
}


@pytest.mark.parametrize("view", ["contiguous", "channels_last"])
@pytest.mark.parametrize("crop", CROPS)
def test_a_part_of_an_image_has_the_layout_of_the_whole_as_in_a_convolution(crop, view):
    input = CROPS[crop](VIEWS[view](torch.randn(2, 8, 9, 7))).requires_grad_()
    weight = torch.randn(len(input), 2 * 9, *input.shape[2:], requires_grad=True)
    output = involution2d(input, weight, 3, 1, 1)
    convolved = torch.nn.functional.conv2d(input, torch.randn(4, input.shape[1], 3, 3), padding=1)
    assert is_channels_last(output) == is_channels_last(convolved) == (view == "channels_last")
    (gradient,) = torch.autograd.grad(output.sum(), input)
    assert is_channels_last(gradient) == (view == "channels_last")


def test_the_arguments_are_not_written_to(make_case):
    case = make_case((9, 6), GROUPS, WINDOW)
    kept = [tensor.clone() for tensor in case]
    for operator, first, second in operators(*case, (9, 6)):
        operator(first, second)
    assert all(map(torch.equal, case, kept))
