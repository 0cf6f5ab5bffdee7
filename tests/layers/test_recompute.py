"""The kernel is recomputed in the backward pass: only what is saved changes."""

import gc

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils.checkpoint import checkpoint

from rednet import Involution2d

GENERATORS = {
    "bottleneck": {},
    "linear": {"generator": "linear"},
    "attention": {"generator": "attention"},
    "softmax": {"generator": "attention", "generator_options": {"softmax": True}},
    "position": {
        "generator": "attention",
        "generator_options": {"softmax": True, "relative_position": True},
    },
}


@pytest.fixture(params=GENERATORS)
def pair(request, make_layer):
    """Return a function that makes a layer that recomputes and one that does not."""

    def make(stride=1, **options):
        options = {**GENERATORS[request.param], **options}
        return [
            make_layer(32, 3, stride, recompute_kernel=recompute, **options)
            for recompute in (True, False)
        ]

    return make


def assert_same_bits(found, expected):
    assert found.keys() == expected.keys()
    for key in expected:
        assert torch.equal(found[key], expected[key]), key


class InAutocast(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        with torch.autocast("cpu", torch.bfloat16):
            return self.layer(x)


class InCheckpoint(nn.Module):
    def __init__(self, layer, use_reentrant):
        super().__init__()
        self.layer, self.use_reentrant = layer, use_reentrant

    def forward(self, x):
        return checkpoint(self.layer, x, use_reentrant=self.use_reentrant)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("stride", [1, 2])
def test_the_same_bits(pair, stride, layout, backward):
    x = torch.randn(2, 32, 7, 6).contiguous(memory_format=layout)
    recomputing, keeping = pair(stride)
    assert_same_bits(backward(recomputing, x), backward(keeping, x))
    assert_same_bits(dict(recomputing.named_buffers()), dict(keeping.named_buffers()))


def test_the_same_bits_in_autocast(pair, backward):
    x = torch.randn(2, 32, 7, 6)
    found, expected = (backward(InAutocast(layer), x) for layer in pair())
    assert found["output"].dtype == torch.bfloat16
    assert found["input"].dtype == torch.float32
    assert_same_bits(found, expected)


def test_the_kernel_is_saved_only_if_asked(pair, record):
    for recompute, layer in zip((True, False), pair(), strict=True):
        kernels = record(layer)
        output = layer(torch.randn(2, 32, 7, 6, requires_grad=True))
        assert kernels.kept != recompute
        output.sum().backward()
        assert kernels.generated == 1 + recompute
        assert not kernels.kept


def test_it_is_not_saved_under_autocast_either(pair, record):
    layer = pair()[0]
    kernels = record(layer)
    with torch.autocast("cpu", torch.bfloat16):
        output = layer(torch.randn(2, 32, 7, 6, requires_grad=True))
    assert not kernels.kept
    output.float().sum().backward()
    assert kernels.generated == 2


def test_nothing_is_computed_twice_without_gradients(pair, record):
    layer = pair()[0]
    kernels = record(layer)
    with torch.no_grad():
        layer(torch.randn(2, 32, 7, 6))
    with torch.inference_mode():
        layer(torch.randn(2, 32, 7, 6))
    assert kernels.generated == 2
    assert not kernels.kept


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_inside_a_checkpoint(pair, use_reentrant, backward, record):
    x = torch.randn(2, 32, 7, 6)
    inner, outer = pair()
    inner.eval()
    outer.eval()
    kernels = record(inner)
    found = backward(InCheckpoint(inner, use_reentrant), x)
    expected = backward(outer, x)
    expected = {key.replace("conv", "layer.conv", 1): value for key, value in expected.items()}
    assert_same_bits(found, expected)
    assert not kernels.kept
    if not use_reentrant:
        assert kernels.generated == 2


def test_a_checkpoint_around_it_still_saves_only_its_input(pair):
    layer = pair()[0]
    inside = []

    def block(x):
        x = x * 2
        inside.append(StorageWeakRef(x.untyped_storage()))
        return layer(x)

    output = checkpoint(block, torch.randn(2, 32, 7, 6, requires_grad=True), use_reentrant=False)
    assert inside[0].expired()
    output.sum().backward()


def test_inside_other_saved_tensor_hooks(pair, backward):
    x = torch.randn(2, 32, 7, 6)
    recomputing, keeping = pair()
    with torch.autograd.graph.save_on_cpu():
        found = backward(recomputing, x)
    assert_same_bits(found, backward(keeping, x))


def test_derivatives_of_second_order(make_layer):
    options = {"group_channels": 2, "reduction": 2}
    for name in GENERATORS:
        layer = make_layer(4, 3, 2, **options, **GENERATORS[name]).double().eval()
        x = torch.randn(1, 4, 3, 2, dtype=torch.float64, requires_grad=True)
        assert gradcheck(layer, x, fast_mode=True)
        assert gradgradcheck(layer, x, fast_mode=True)


def test_second_order_reaches_the_parameters(pair):
    x = torch.randn(2, 32, 5, 4).double().requires_grad_()
    found = []
    for layer in pair():
        layer.double()
        (gradient,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
        found.append(torch.autograd.grad(gradient.square().sum(), list(layer.parameters())))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("frozen", ["conv1", "conv2", "both", "input"])
def test_frozen_parts(pair, frozen):
    found = []
    for layer in pair():
        x = torch.randn(2, 32, 5, 4, generator=torch.Generator().manual_seed(0))
        x.requires_grad_(frozen != "input")
        for name in ("conv1", "conv2"):
            getattr(layer, name).requires_grad_(frozen not in (name, "both"))
        layer(x).sin().sum().backward()
        found.append([t.grad for t in (x, *layer.parameters()) if t.requires_grad])
    torch.testing.assert_close(*found, rtol=0, atol=0)


def test_two_backward_passes_through_one_graph(pair):
    x = torch.randn(2, 32, 5, 4, requires_grad=True)
    output = pair()[0](x).sin().sum()
    first = torch.autograd.grad(output, x, retain_graph=True)
    assert torch.equal(first[0], torch.autograd.grad(output, x)[0])


def test_a_modified_input_is_detected(pair):
    for layer in pair():
        x = torch.randn(2, 32, 5, 4, requires_grad=True) * 1
        output = layer.eval()(x)
        with torch.no_grad():
            x += 1
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            output.sum().backward()


def test_a_graph_never_walked_backward_is_freed_at_once(pair):
    """There is no reference cycle, which would wait for the garbage collector."""
    layer = pair()[0]
    x = torch.randn(2, 32, 5, 4, requires_grad=True) * 1
    storage = StorageWeakRef(x.untyped_storage())
    gc.disable()
    try:
        output = layer(x)
        del x
        assert not storage.expired()
        del output
        assert storage.expired()
    finally:
        gc.enable()


@pytest.mark.parametrize("name", ["bottleneck", "softmax"])
def test_one_graph_compiled(name, make_layer, backward):
    torch._dynamo.reset()
    layer = make_layer(32, 3, 2, **GENERATORS[name])
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    x = torch.randn(2, 32, 7, 6)
    expected = backward(layer, x)
    found = backward(compiled, x)
    found = {key.removeprefix("_orig_mod."): value for key, value in found.items()}
    torch.testing.assert_close(found, expected)


@pytest.mark.nightly
def test_one_graph_compiled_by_inductor(make_layer, backward):
    torch._dynamo.reset()
    layer = make_layer(32, 3, 2)
    compiled = torch.compile(layer, fullgraph=True)
    x = torch.randn(2, 32, 7, 6)
    expected = backward(layer, x)
    found = backward(compiled, x)
    found = {key.removeprefix("_orig_mod."): value for key, value in found.items()}
    torch.testing.assert_close(found, expected)


def test_exported(pair):
    layer = pair(2)[0].eval()
    x = torch.randn(2, 32, 7, 6)
    program = torch.export.export(layer, (x,))
    torch.testing.assert_close(program.module()(x), layer(x))


def test_on_a_device_without_autocast():
    with torch.device("meta"):
        layer = Involution2d(32, 3, 2, generator="linear")
        x = torch.empty(2, 32, 7, 6, requires_grad=True)
    output = layer(x)
    output.sum().backward()
    assert (output.shape, x.grad.shape) == ((2, 32, 4, 3), x.shape)
