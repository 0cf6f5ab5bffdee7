"""In training a layer stores no kernels where the backend has operators for that."""

from contextlib import contextmanager
from dataclasses import replace
from itertools import combinations

import pytest
import tiled_span
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from torch.utils.flop_counter import FlopCounterMode

from rednet.layers import Involution2d
from rednet.ops import backend, involution2d_span, register_backend, span_torch_ops

EACH = {"span_involution2d": 1, "span_grad_input": 1, "span_gradients": 1}


@pytest.fixture(autouse=True)
def tiled(monkeypatch):
    monkeypatch.delenv("REDNET_SPAN", raising=False)
    tiled_span.CALLS.clear()
    with register_backend(tiled_span.BACKEND), backend(tiled_span.NAME):
        yield


@pytest.fixture
def stored(monkeypatch):
    """Return a function that calls another with stored kernels."""

    def call(function, *args):
        with monkeypatch.context() as patch:
            patch.setenv("REDNET_SPAN", "stored")
            return function(*args)

    return call


def images(dtype=torch.float32, batch=2):
    x = torch.randn(batch, 32, 9, 10, generator=torch.Generator().manual_seed(1)).to(dtype)
    return x.contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"generator": "linear"}], ids=str)
@pytest.mark.parametrize("recompute", [True, False])
def test_gradients(options, recompute, make_layer, backward, stored):
    layer = make_layer(32, 3, recompute_kernel=recompute, **options)
    layer.to(memory_format=torch.channels_last)
    expected = stored(backward, layer, images())
    expected = {name: tensor.clone() for name, tensor in expected.items()}
    assert not tiled_span.CALLS
    found = backward(layer, images())
    assert dict(tiled_span.CALLS) == EACH
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    weight = layer.conv2.conv.weight
    assert weight.grad.stride() == weight.stride()


def test_nothing_of_the_kernels_size_is_saved(make_layer):
    layer, x, sizes = make_layer(32, 7), images().requires_grad_(), []

    def pack(tensor):
        sizes.append(tensor.shape)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        layer(x)
    assert x.shape in sizes
    assert (2, 2 * 49, 9, 10) not in sizes


def test_autocast(make_layer, backward, stored):
    def run():
        layer = make_layer(32, 3)
        with torch.autocast("cpu", torch.bfloat16):
            output = layer(images().requires_grad_())
        output.float().sum().backward()
        return output, layer.conv2.conv.weight.grad

    found = run()
    assert dict(tiled_span.CALLS) == EACH
    expected = stored(run)
    assert found[0].dtype is torch.bfloat16
    assert found[1].dtype is torch.float32
    torch.testing.assert_close(found, expected, rtol=0.1, atol=0.3)


@pytest.mark.nightly
def test_one_graph_for_every_batch_size(make_layer):
    torch._dynamo.reset()
    layer, counter = make_layer(32, 3).eval(), CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(layer, fullgraph=True, dynamic=True, backend=counter)
    counts = set()
    for batch in (6, 7):
        tiled_span.CALLS.clear()
        x = images(batch=batch).requires_grad_()
        output = compiled(x)
        output.sum().backward()
        assert dict(tiled_span.CALLS) == EACH
        torch.testing.assert_close(output, layer(x))
        counts.add(counter.frame_count)
    assert len(counts) == 1


def test_what_would_be_noticed_is_stored(make_layer):
    def hooked(layer):
        layer.conv2.register_full_backward_hook(lambda *args: None)
        layer(images())

    def counted(layer):
        with FlopCounterMode(display=False):
            layer(images())

    def transformed(layer):
        torch.func.grad(lambda x: layer.eval()(x).sum())(images())

    def exported(layer):
        torch.export.export(layer, (images(),))

    for use in (hooked, counted, transformed, exported):
        use(make_layer(32, 3))
        assert not tiled_span.CALLS, use


def test_the_environment_decides(make_layer, monkeypatch, backward):
    layer = make_layer(32, 3)
    monkeypatch.setenv("REDNET_SPAN", "stored")
    backward(layer, images())
    assert not tiled_span.CALLS
    monkeypatch.setenv("REDNET_SPAN", "fused")
    backward(layer, images())
    assert dict(tiled_span.CALLS) == EACH
    monkeypatch.setenv("REDNET_SPAN", "both")
    with pytest.raises(ValueError, match="REDNET_SPAN must be fused or stored, got 'both'"):
        layer(images())


def test_the_backends_preference_decides(make_layer, backward):
    span = tiled_span.BACKEND.span
    for changes in (
        {"is_preferred": lambda name, sizes, dtype, device: sizes.reduced_channels != 8},
        {"span_grad_input": None},
        {"unavailable_reason": lambda name, *args: "no" if name == "span_involution2d" else None},
        {"unavailable_reason": lambda *args: "no" if len(args) == 5 else None},
    ):
        mine = replace(tiled_span.BACKEND, name="mine", span=replace(span, **changes))
        with register_backend(mine), backend("mine"):
            backward(make_layer(32, 3), images())
        assert not tiled_span.CALLS, changes


NAMES = tuple(EACH)
COMBINATIONS = [set(names) for count in range(4) for names in combinations(NAMES, count)]


@pytest.mark.parametrize("fused", COMBINATIONS, ids=lambda names: "+".join(sorted(names)) or "none")
def test_each_operator_is_fused_or_composed(fused, make_layer, backward, stored):
    expected = stored(backward, make_layer(32, 3), images())
    expected = {name: tensor.clone() for name, tensor in expected.items()}
    changes = [{"is_preferred": lambda name, *args: name in fused}]
    if NAMES[0] in fused:  # for whose kernel a layer asks first
        changes += [{"unavailable_reason": lambda name, *args: None if name in fused else "no"}]
    for change in changes:
        tiled_span.CALLS.clear()
        with using(change):
            found = backward(make_layer(32, 3), images())
        assert dict(tiled_span.CALLS) == dict.fromkeys(fused, 1)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@contextmanager
def using(changes):
    """Use the tiled backend with other functions."""
    span = replace(tiled_span.BACKEND.span, **changes)
    mine = replace(tiled_span.BACKEND, name="mine", span=span)
    with register_backend(mine), backend("mine"):
        yield


def test_a_forced_choice_is_that_of_every_operator(make_layer, monkeypatch, backward):
    with using({"is_preferred": lambda *args: False}):
        monkeypatch.setenv("REDNET_SPAN", "fused")
        backward(make_layer(32, 3), images())
        assert dict(tiled_span.CALLS) == EACH
    tiled_span.CALLS.clear()
    monkeypatch.setenv("REDNET_SPAN", "stored")
    inputs = images(), torch.randn(2, 8, 9, 10), torch.randn(18, 8, 1, 1)
    involution2d_span(
        *(each.requires_grad_() for each in inputs), None, 3, 1, 1, 1
    ).sum().backward()
    assert not tiled_span.CALLS


def test_a_composed_backward_pass_makes_its_kernels_once(make_layer, monkeypatch):
    made, make = [], span_torch_ops._make_kernels
    monkeypatch.setattr(
        span_torch_ops, "_make_kernels", lambda *args: made.append(1) or make(*args)
    )
    with using({"is_preferred": lambda name, *args: name == "span_involution2d"}):
        output = make_layer(32, 3)(images().requires_grad_())
        assert not made
        output.sum().backward()
    assert made == [1]


def test_without_gradients_the_forward_pass_decides(make_layer):
    with using({"is_preferred": lambda name, *args: name != "span_involution2d"}), torch.no_grad():
        make_layer(32, 3)(images())
    assert not tiled_span.CALLS


def test_other_generators_store(make_layer, backward):
    backward(make_layer(32, 3, generator="attention"), images())
    assert isinstance(make_layer(32, 3), Involution2d)
    assert not tiled_span.CALLS
