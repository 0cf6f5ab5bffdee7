"""The operators under torch.compile and torch.export."""

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from rednet import involution2d, involution2d_grad_input, involution2d_grad_weight

WINDOW = (3, 2, 1, 1)
GROUPS = 2


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def by_name(name, size):
    return {
        "involution2d": lambda i, w, g: involution2d(i, w, *WINDOW),
        "grad_input": lambda i, w, g: involution2d_grad_input(g, w, size, *WINDOW),
        "grad_weight": lambda i, w, g: involution2d_grad_weight(g, i, GROUPS, *WINDOW),
    }[name]


def around_involution(input, weight):
    return involution2d(input.sin(), weight * 2, *WINDOW).square()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", ["involution2d", "grad_input", "grad_weight"])
def test_one_graph_for_every_batch_size(name, layout, make_case):
    counter = CompileCounterWithBackend("aot_eager")
    operator = by_name(name, (9, 6))
    compiled = torch.compile(operator, fullgraph=True, dynamic=True, backend=counter)
    for batch in (2, 3, 7):
        case = make_case((9, 6), GROUPS, WINDOW, batch, dtype=torch.float32)
        case = [tensor.contiguous(memory_format=layout) for tensor in case]
        found, plain = compiled(*case), operator(*case)
        assert torch.equal(found, plain)
        assert found.stride() == plain.stride()
    assert counter.frame_count == 1


def test_one_graph_for_every_image_size(make_case):
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(
        lambda i, w: involution2d(i, w, *WINDOW), fullgraph=True, dynamic=True, backend=counter
    )
    for size in ((9, 8), (12, 11), (7, 30)):
        input, weight, _ = make_case(size, GROUPS, WINDOW, dtype=torch.float32)
        assert torch.equal(compiled(input, weight), involution2d(input, weight, *WINDOW))
    assert counter.frame_count == 1


@pytest.mark.nightly
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_inductor_with_gradients(layout, make_case):
    counter = CompileCounterWithBackend("inductor")
    compiled = torch.compile(around_involution, fullgraph=True, dynamic=True, backend=counter)
    for batch in (2, 3):
        case = make_case((9, 6), GROUPS, WINDOW, batch, dtype=torch.float32)
        *leaves, grad = (tensor.contiguous(memory_format=layout) for tensor in case)
        leaves = [tensor.requires_grad_() for tensor in leaves]
        outputs = compiled(*leaves), around_involution(*leaves)
        torch.testing.assert_close(*outputs)
        gradients = [torch.autograd.grad(output, leaves, grad) for output in outputs]
        torch.testing.assert_close(*gradients)
    assert counter.frame_count == 1


def test_autocast_inside_the_graph(make_case):
    input, weight, _ = make_case((9, 6), GROUPS, WINDOW, dtype=torch.float32)

    def cast(input, weight):
        with torch.autocast("cpu", torch.bfloat16):
            return involution2d(input, weight, *WINDOW)

    compiled = torch.compile(cast, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(input, weight), cast(input, weight))


class Operators(torch.nn.Module):
    def forward(self, input, weight, grad):
        size = input.shape[2:]
        return (
            involution2d(input, weight, *WINDOW),
            involution2d_grad_input(grad, weight, size, *WINDOW),
            involution2d_grad_weight(grad, input, GROUPS, *WINDOW),
        )


@pytest.mark.parametrize("strict", [False, True])
def test_export_for_every_batch_size(strict, make_case):
    case = make_case((9, 6), GROUPS, WINDOW, dtype=torch.float32)
    batch = torch.export.Dim("batch", max=64)
    shapes = tuple({0: batch} for _ in case)
    program = torch.export.export(Operators(), case, dynamic_shapes=shapes, strict=strict)
    names = [str(node.target) for node in program.graph.nodes]
    assert sum(name.startswith("rednet.involution2d") for name in names) == 3
    for batch in (1, 5):
        other = make_case((9, 6), GROUPS, WINDOW, batch, dtype=torch.float32)
        assert all(map(torch.equal, program.module()(*other), Operators()(*other)))


def test_an_exported_program_survives_a_file(make_case, tmp_path):
    case = make_case((9, 6), GROUPS, WINDOW, dtype=torch.float32)
    torch.export.save(torch.export.export(Operators(), case), tmp_path / "operators.pt2")
    loaded = torch.export.load(tmp_path / "operators.pt2").module()
    assert all(map(torch.equal, loaded(*case), Operators()(*case)))
