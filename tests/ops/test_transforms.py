"""The operators under `torch.func`, vmap and forward-mode differentiation."""

from typing import ClassVar

import pytest
import torch
from torch.autograd import forward_ad

from rednet import involution2d, involution2d_grad_input, involution2d_grad_weight

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script`")

SIZE, GROUPS, WINDOW = (5, 4), 2, (3, 2, 1, 1)
PAIR = (0, 1)


def grad_input(grad, weight):
    return involution2d_grad_input(grad, weight, SIZE, *WINDOW)


def grad_weight(grad, input):
    return involution2d_grad_weight(grad, input, GROUPS, *WINDOW)


@pytest.fixture(params=["involution2d", "grad_input", "grad_weight"])
def case(request, make_case, unfolded):
    """Return an operator, the same in operations that torch can transform, and two arguments."""
    input, weight, grad = make_case(SIZE, GROUPS, WINDOW)

    def pull(grad, input, weight):
        return torch.func.vjp(lambda *pair: unfolded(*pair, *WINDOW), input, weight)[1](grad)

    return {
        "involution2d": (
            lambda input, weight: involution2d(input, weight, *WINDOW),
            lambda input, weight: unfolded(input, weight, *WINDOW),
            (input, weight),
        ),
        "grad_input": (
            grad_input,
            lambda grad, weight: pull(grad, torch.zeros_like(input), weight)[0],
            (grad, weight),
        ),
        "grad_weight": (
            grad_weight,
            lambda grad, input: pull(grad, input, torch.zeros_like(weight))[1],
            (grad, input),
        ),
    }[request.param]


def reduced(operator):
    return lambda *pair: operator(*pair).sin().sum()


TRANSFORMS = {
    "grad": lambda f: torch.func.grad(reduced(f), PAIR),
    "jacrev": lambda f: torch.func.jacrev(f, PAIR),
    "jacfwd": lambda f: torch.func.jacfwd(f, PAIR),
    "hessian": lambda f: torch.func.hessian(reduced(f), PAIR),
    "forward over forward": lambda f: torch.func.jacfwd(torch.func.jacfwd(reduced(f)), 1),
    "reverse over forward": lambda f: torch.func.jacrev(torch.func.jacfwd(reduced(f)), 1),
}


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_transforms(transform, case):
    ours, theirs, pair = case
    found, expected = (TRANSFORMS[transform](operator)(*pair) for operator in (ours, theirs))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("in_dims", [(0, 0), (1, None), (None, 2), (-1, 1)])
def test_vmap_and_gradients_of_each_sample(in_dims, case):
    def stack(tensor, dim):
        return tensor if dim is None else torch.stack([tensor, tensor.sin(), -tensor], dim)

    ours, theirs, pair = case
    mapped = [stack(tensor, dim) for tensor, dim in zip(pair, in_dims, strict=True)]
    for transform in (lambda f: f, TRANSFORMS["grad"]):
        found, expected = (torch.vmap(transform(f), in_dims)(*mapped) for f in (ours, theirs))
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("which", [(0, 1), (0,), (1,), ()])
def test_dual_numbers(which, case):
    ours, theirs, pair = case
    tangents = []
    for operator in (ours, theirs):
        with forward_ad.dual_level():
            duals = [
                forward_ad.make_dual(tensor, tensor.cos()) if index in which else tensor
                for index, tensor in enumerate(pair)
            ]
            tangents.append(forward_ad.unpack_dual(operator(*duals)).tangent)
    assert tangents == [None, None] or torch.allclose(*tangents)


def test_jacobians_by_batched_gradients(case):
    ours, theirs, pair = case
    found = torch.autograd.functional.jacobian(ours, pair, vectorize=True)
    torch.testing.assert_close(found, torch.func.jacrev(theirs, PAIR)(*pair))


def test_autocast_inside_a_transform():
    input, weight = torch.randn(1, 4, 3, 3), torch.randn(1, 9, 3, 3)

    def loss(input):
        with torch.autocast("cpu", torch.bfloat16):
            return involution2d(input, weight, 3, 1, 1).float().sum()

    leaf = input.clone().requires_grad_()
    loss(leaf).backward()
    assert torch.equal(torch.func.grad(loss)(input), leaf.grad)


@pytest.mark.parametrize("frozen", [False, True])
def test_direct_calls_refuse_tangents(frozen, make_case):
    """Torch would take a registered operator's derivative in this mode to be zero."""
    input, weight, _ = make_case(SIZE, GROUPS, WINDOW)
    weight.requires_grad_(not frozen)

    def direct(input):
        return torch.ops.rednet.involution2d(input, weight, *WINDOW)

    with pytest.raises(NotImplementedError, match=r"call rednet\.involution2d instead"):
        torch.func.jvp(direct, (input,), (input,))
    with forward_ad.dual_level(), pytest.raises(NotImplementedError, match="instead"):
        direct(forward_ad.make_dual(input, input))
    torch.testing.assert_close(direct(input), involution2d(input, weight, *WINDOW))


def test_direct_calls_can_be_mapped(make_case):
    pair = make_case(SIZE, GROUPS, WINDOW)[:2]
    mapped = torch.vmap(lambda *pair: torch.ops.rednet.involution2d(*pair, *WINDOW), (0, 1))(
        pair[0][None], pair[1][:, None]
    )
    assert torch.equal(mapped[0], involution2d(*pair, *WINDOW))


class Labelled(torch.Tensor):
    """A subclass that counts the functions it sees."""

    seen: ClassVar[list] = []

    @classmethod
    def __torch_function__(cls, function, types, arguments=(), keywords=None):
        cls.seen.append(function)
        return super().__torch_function__(function, types, arguments, keywords or {})


def test_a_subclass_sees_the_operator(case):
    ours, theirs, pair = case
    output = ours(pair[0].as_subclass(Labelled), pair[1])
    assert type(output) is Labelled
    assert Labelled.seen[0].__module__ == "rednet.ops.involution"
    torch.testing.assert_close(output.as_subclass(torch.Tensor), theirs(*pair))
