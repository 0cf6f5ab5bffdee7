"""A small network under torch.compile and torch.export."""

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def train_once(run, model, images):
    output = run(images)
    output.square().sum().backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    return {"output": output.detach(), **gradients, **dict(model.named_buffers())}


@pytest.mark.parametrize("checkpointing", [pytest.param(False, marks=pytest.mark.nightly), True])
def test_one_graph_in_training(checkpointing, make_tiny, images):
    options = {"layers": (1, 1, 1, 1), "stem": "small"}
    model, plain = make_tiny(**options).train(), make_tiny(**options).train()
    model.set_grad_checkpointing(checkpointing)
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(model, fullgraph=True, backend=counter)
    found = train_once(compiled, model, images(19, 17))
    torch.testing.assert_close(found, train_once(plain, plain, images(19, 17)))
    assert counter.frame_count == 1


def test_one_graph_for_every_batch_size(make_tiny, images):
    model = make_tiny(layers=(1, 1, 1, 1)).eval()
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(model, fullgraph=True, backend=counter)
    for batch in (2, 3, 5):
        x = images(33, batch=batch)
        torch._dynamo.mark_dynamic(x, 0)
        with torch.no_grad():
            torch.testing.assert_close(compiled(x), model(x))
    assert counter.frame_count == 1


@pytest.mark.nightly
def test_inductor_trains_it(make_tiny, images):
    options = {"stem": "conv7", "layers": (1, 1, 1, 1), "involution_stages": [2]}
    model, plain = (make_tiny(**options).train().double() for _ in range(2))
    compiled = torch.compile(model, fullgraph=True)
    x = images(65, 49, batch=4).double()
    torch.testing.assert_close(train_once(compiled, model, x), train_once(plain, plain, x))


@pytest.mark.parametrize("stem", ["involution3", "conv7"])
def test_exported_for_every_batch_size(stem, make_tiny, images):
    model = make_tiny(layers=(1, 1, 1, 1), stem=stem).eval()
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(model, (images(33),), dynamic_shapes=({0: batch},))
    for batch in (1, 3):
        x = images(33, batch=batch)
        torch.testing.assert_close(program.module()(x), model(x))


class InAutocast(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        with torch.autocast("cpu", torch.bfloat16):
            return self.model(x)


def test_exported_with_autocast(make_tiny, images):
    model = InAutocast(make_tiny(layers=(1, 1, 1, 1)).eval())
    program = torch.export.export(model, (images(33),))
    assert torch.equal(program.module()(images(33)), model(images(33)))
