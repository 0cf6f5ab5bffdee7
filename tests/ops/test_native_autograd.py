"""Derivatives and compiled graphs through the native kernels, and through nothing else."""

import shutil
from collections import Counter
from dataclasses import replace
from itertools import product

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from torch.autograd import gradcheck, gradgradcheck

from rednet import involution2d
from rednet.ops import backend, compiler, register_backend, registered_backends

pytestmark = pytest.mark.skipif(
    not any(map(shutil.which, compiler.COMPILERS)), reason="there is no C++ compiler"
)
NATIVE = next(one for one in registered_backends() if one.name == "native")
OPERATORS = ["involution2d", "grad_input", "grad_weight"]
LAYOUTS = ["contiguous", "channels_last"]
WINDOWS = [(3, 1, 1, 1), (3, 2, 1, 1), (7, 2, 3, 1), (2, 3, 1, 2)]


@pytest.fixture(autouse=True)
def calls():
    """Count how often each operator ran; every one of them runs on the native backend."""
    counted = Counter()

    def counting(name):
        def call(*arguments):
            counted[name] += 1
            return getattr(NATIVE, name)(*arguments)

        return call

    operators = {name: counting(name) for name in OPERATORS}
    with register_backend(replace(NATIVE, name="counted", **operators)), backend("counted"):
        yield counted


def leaves_of(case, view, names):
    return [view(tensor, name).requires_grad_() for tensor, name in zip(case, names, strict=True)]


@pytest.mark.parametrize("layouts", [LAYOUTS, LAYOUTS[::-1], LAYOUTS[1:] * 2])
@pytest.mark.parametrize("window", WINDOWS)
def test_first_and_second_derivatives(window, layouts, make_case, view):
    case = make_case((5, 4), 2, window, 1, group_width=2)[:2]
    leaves = leaves_of(case, view, layouts)
    assert gradcheck(lambda a, b: involution2d(a, b, *window), leaves)
    assert gradgradcheck(lambda a, b: involution2d(a, b, *window), leaves, fast_mode=True)


def test_every_order_runs_the_kernels(calls, make_case):
    input, weight, _ = make_case((5, 4), 2, (3, 2, 1, 1))
    leaves = [input.requires_grad_(), weight.requires_grad_()]
    value = involution2d(*leaves, 3, 2, 1).pow(4).sum()
    counts = [dict(calls)]
    for _ in range(3):
        calls.clear()
        gradients = torch.autograd.grad(value, leaves, create_graph=True)
        value = sum(gradient.pow(2).sum() for gradient in gradients)
        counts.append(dict(calls))
    once = {"involution2d": 0, "grad_input": 1, "grad_weight": 1}
    assert counts[:2] == [{"involution2d": 1}, {k: n for k, n in once.items() if n}]
    assert all(set(count) == set(OPERATORS) for count in counts[2:])


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize("layouts", list(product(LAYOUTS, repeat=2)))
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_opcheck(dtype, layouts, calls, make_case, view):
    window = (3, 2, 1, 1)
    case = make_case((5, 4), 2, window, dtype=dtype)
    input, weight, grad = leaves_of(case, view, [*layouts, layouts[0]])
    library = torch.ops.rednet
    tests = ["test_schema", "test_autograd_registration", "test_faketensor"]
    for operator, arguments in (
        (library.involution2d, (input, weight, *window)),
        (library.involution2d_grad_input, (grad, weight, 5, 4, *window)),
        (library.involution2d_grad_weight, (grad, input, 2, *window)),
    ):
        torch.library.opcheck(operator.default, arguments, test_utils=tests)
    assert set(calls) == set(OPERATORS)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_one_graph_with_gradients_for_every_batch_size(dtype, calls, make_case, view):
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("aot_eager")
    window = (7, 1, 3, 1)

    def function(input, weight):
        return involution2d(input * 2, weight, *window).square()

    compiled = torch.compile(function, fullgraph=True, dynamic=True, backend=counter)
    for batch in (2, 3, 5):
        case = make_case((9, 6), 2, window, batch, group_width=16, dtype=dtype)
        *leaves, grad = leaves_of(case, view, LAYOUTS[1:] * 3)
        outputs = compiled(*leaves), function(*leaves)
        gradients = [torch.autograd.grad(output, leaves, grad) for output in outputs]
        assert torch.equal(*outputs)
        torch.testing.assert_close(*gradients, rtol=0, atol=0)
        assert all(g.is_contiguous(memory_format=torch.channels_last) for g in gradients[0])
    assert counter.frame_count == 1
    assert calls == dict.fromkeys(OPERATORS, 6)
    torch._dynamo.reset()
