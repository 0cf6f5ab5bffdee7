"""The kernels of batch normalisation against PyTorch in float64."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rednet.ops import backends
from rednet.ops.batch_norm import Channels, Statistics, _library, batch_norm, can_run

pytestmark = pytest.mark.skipif(_library() is None, reason="the C++ compiler makes no library")

SHAPES = [
    *((1, 3, 5, 7), (2, 1, 4, 3), (3, 16, 1, 1), (2, 17, 1, 5), (5, 64, 7, 7), (1, 100, 9, 8)),
    *((2, 2048, 3, 3), (1, 5, 1, 2), (16, 32, 21, 20)),
]
TOLERANCES = {torch.float32: 2e-5, torch.bfloat16: 2e-2}


@pytest.fixture(autouse=True)
def free_choice(monkeypatch):
    monkeypatch.delenv("REDNET_BACKEND", raising=False)
    monkeypatch.setattr(backends, "_forced", None)


@pytest.fixture
def threads():
    """Let a test change the number of threads."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def images(shape, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(shape, generator=generator) * 2 + 0.5
    return values.to(dtype).contiguous(memory_format=torch.channels_last)


def channels_of(count):
    generator = torch.Generator().manual_seed(1)
    weight, bias, mean = torch.randn(3, count, generator=generator)
    return Channels(weight, bias, mean, torch.rand(count, generator=generator) + 0.5)


def expected(x, channels, statistics, relu, shortcut):
    """Return the formula's result in PyTorch, and the running statistics after it."""
    recorded = [t.clone() for t in channels[2:]]
    y = F.batch_norm(
        x, *recorded, *channels[:2], statistics.of_batch, statistics.momentum, statistics.eps
    )
    y = y if shortcut is None else y + shortcut
    return y.relu() if relu else y, recorded


def leaves(tensors, dtype=None):
    return [None if t is None else t.detach().clone().to(dtype or t.dtype) for t in tensors]


def close(actual: Tensor, wanted: Tensor, tolerance: float) -> None:
    scale = wanted.abs().max().clamp(min=1).item()
    torch.testing.assert_close(actual.double(), wanted.double(), rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("adds", [False, True])
@pytest.mark.parametrize("of_batch", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_and_gradients(shape, of_batch, adds, relu, dtype):
    statistics = Statistics(of_batch, of_batch, 0.3, 1e-5)
    x, shortcut = images(shape, dtype), images(shape, dtype, 2) if adds else None
    channels = channels_of(shape[1])
    inputs = (x, *channels[:2], shortcut)
    mine, theirs = leaves(inputs), leaves(inputs, torch.float64)
    for tensor in (*mine, *theirs):
        if tensor is not None:
            tensor.requires_grad_()
    recorded = leaves(channels[2:])
    output = batch_norm(mine[0], Channels(*mine[1:3], *recorded), statistics, relu, mine[3])
    doubles = Channels(*theirs[1:3], *leaves(channels[2:], torch.float64))
    wanted, moved = expected(theirs[0], doubles, statistics, relu, theirs[3])

    tolerance = TOLERANCES[dtype]
    assert output.dtype == dtype
    assert output.is_contiguous(memory_format=torch.channels_last)
    close(output.detach(), wanted.detach(), tolerance)
    for actual, value in zip(recorded, moved, strict=True):
        close(actual, value, 1e-5)
    # The same side of the ReLU, where rounding could put a zero on either.
    grad = images(shape, dtype, 3) * (wanted.detach().abs() > 4 * tolerance)
    output.backward(grad)
    wanted.backward(grad.double())
    for actual, value in zip(mine, theirs, strict=True):
        if actual is not None:
            assert actual.grad.dtype == actual.dtype
            close(actual.grad, value.grad, tolerance * 3)


@pytest.mark.parametrize("of_batch", [False, True])
@pytest.mark.parametrize("adds", [False, True])
def test_results_larger_than_the_cache(adds, of_batch):
    shape = (3, 64, 112, 112)
    x, shortcut = images(shape).requires_grad_(), images(shape, seed=2) if adds else None
    channels, statistics = channels_of(64), Statistics(of_batch, False, 0.1, 1e-5)
    reference = x.detach().clone().requires_grad_()
    output = batch_norm(x, channels, statistics, True, shortcut)
    wanted, _ = expected(reference, channels, statistics, True, shortcut)
    close(output.detach(), wanted.detach(), 1e-5)
    grad = images(shape, seed=3) * (wanted.detach() > 1e-4)
    output.backward(grad)
    wanted.backward(grad)
    close(x.grad, reference.grad, 1e-5)


def test_arguments_are_not_modified():
    x, shortcut, channels = images((2, 16, 5, 5)), images((2, 16, 5, 5), seed=2), channels_of(16)
    tensors = (x, shortcut, *channels)
    before = leaves(tensors)
    batch_norm(x, channels, Statistics(True, False, 0.5, 1e-5), True, shortcut)
    batch_norm(x, channels, Statistics(False, False, 0.5, 1e-5), True, shortcut)
    assert all(map(torch.equal, before, tensors))


@pytest.mark.parametrize("wanted", ["x", "weight", "bias", "shortcut"])
@pytest.mark.parametrize("of_batch", [False, True])
@pytest.mark.parametrize("relu", [False, True])
def test_a_single_gradient(wanted, of_batch, relu):
    shape, statistics = (4, 17, 6, 6), Statistics(of_batch, False, 0.1, 1e-5)
    channels = channels_of(17)
    inputs = {"x": images(shape), "weight": channels.weight, "bias": channels.bias}
    inputs["shortcut"] = images(shape, seed=2)

    def gradients(*names):
        tensors = {k: v.clone().requires_grad_(k in names) for k, v in inputs.items()}
        own = channels._replace(weight=tensors["weight"], bias=tensors["bias"])
        y = batch_norm(tensors["x"], own, statistics, relu, tensors["shortcut"])
        return torch.autograd.grad(y, [tensors[name] for name in names], images(shape, seed=3))

    everything = gradients(*inputs)
    (alone,) = gradients(wanted)
    assert torch.equal(alone, everything[list(inputs).index(wanted)])


@pytest.mark.parametrize("layout", ["contiguous", "expanded", "sliced"])
def test_gradients_of_any_layout(layout):
    shape = (2, 16, 6, 6)
    dense = images((2, 16, 1, 1)).expand(shape) if layout == "expanded" else images(shape)
    grad = {
        "contiguous": dense.contiguous(),
        "expanded": dense,
        "sliced": torch.cat([dense, dense], 3)[..., :6],
    }[layout]

    def gradient(grad):
        x = images(shape, seed=1).requires_grad_()
        y = batch_norm(x, channels_of(16), Statistics(True, False, 0.1, 1e-5), True)
        return torch.autograd.grad(y, x, grad)[0]

    assert torch.equal(
        gradient(grad), gradient(dense.contiguous(memory_format=torch.channels_last))
    )


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("adds", [False, True])
@pytest.mark.parametrize("shape", [(4, 48, 33, 31), (3, 300, 7, 7)], ids=str)
def test_the_same_bits_for_any_number_of_threads(shape, adds, dtype, threads):
    def run(count):
        torch.set_num_threads(count)
        channels = channels_of(shape[1])
        x = images(shape, dtype).requires_grad_()
        shortcut = images(shape, dtype, 2).requires_grad_() if adds else None
        weight = channels.weight.requires_grad_()
        y = batch_norm(x, channels, Statistics(True, True, 0.1, 1e-5), True, shortcut)
        y.backward(images(shape, dtype, 3))
        results = [y.detach(), x.grad, weight.grad, *channels[2:]]
        return results + ([shortcut.grad] if adds else [])

    first = run(1)
    for count in (1, 2, 3):
        assert all(map(torch.equal, first, run(count)))


@pytest.mark.parametrize("far", ["everywhere", "one image", "sampled rows"])
def test_a_large_mean_does_not_spoil_the_variance(far):
    x = torch.randn(8, 32, 28, 28, generator=torch.Generator().manual_seed(0))
    if far == "everywhere":
        x += 1e4
    elif far == "one image":
        x[3] += 1e4
    else:
        x[:, :, ::28] -= 1e4
    x = x.contiguous(memory_format=torch.channels_last)
    own = Channels(None, None, torch.zeros(32), torch.ones(32))
    y = batch_norm(x, own, Statistics(True, True, 1.0, 1e-5))
    doubles = Channels(None, None, torch.zeros(32).double(), torch.ones(32).double())
    wanted, moved = expected(x.double(), doubles, Statistics(True, True, 1.0, 1e-5), False, None)
    torch.testing.assert_close(y.double(), wanted, rtol=1e-5, atol=3e-6)
    torch.testing.assert_close(own.mean.double(), moved[0], rtol=3e-7, atol=1e-6)
    torch.testing.assert_close(own.var.double(), moved[1], rtol=3e-6, atol=0)


def test_bfloat16_is_rounded_to_nearest_even():
    generator = torch.Generator().manual_seed(0)
    x = (torch.randn(64, 19, 8, 8, generator=generator) * 100).bfloat16()
    shortcut = torch.randn(64, 19, 8, 8, generator=generator).bfloat16()
    x[0, :, 0, 0], shortcut[0, :, 0, 0] = 1.0, 2.0**-8
    x[0, :, 0, 1], shortcut[0, :, 0, 1] = 1.0 + 2.0**-7, 2.0**-8
    x[0, :, 0, 2], x[0, :, 0, 3] = torch.inf, torch.nan
    x, shortcut = (t.contiguous(memory_format=torch.channels_last) for t in (x, shortcut))
    own = Channels(None, None, torch.zeros(19), torch.ones(19))
    y = batch_norm(x, own, Statistics(False, False, 0.0, 0.0), False, shortcut)
    wanted = (x.float() + shortcut.float()).bfloat16()
    torch.testing.assert_close(y, wanted, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
def test_nan_passes_the_relu(dtype):
    x = images((2, 19, 4, 4), dtype)
    x[1, :, 2, 3] = torch.nan
    channels = channels_of(19)
    recorded = batch_norm(x, channels, Statistics(False, False, 0.1, 1e-5), True)
    assert torch.equal(recorded.isnan(), x.isnan())
    assert batch_norm(x, channels, Statistics(True, False, 0.1, 1e-5), True).isnan().all()


@pytest.mark.parametrize("adds", [False, True])
def test_only_input_and_output_are_saved(adds):
    shape = (2, 16, 8, 8)
    x, shortcut = images(shape).requires_grad_(), images(shape, seed=2) if adds else None
    kept = []

    def pack(tensor):
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y = batch_norm(x, channels_of(16), Statistics(True, False, 0.1, 1e-5), True, shortcut)
    big = {tensor.data_ptr() for tensor in kept if tensor.numel() == x.numel()}
    assert big == {x.data_ptr(), *([y.data_ptr()] if adds else [])}


def test_what_cannot_run():
    x, channels = images((2, 16, 4, 4)), channels_of(16)
    assert can_run(x, channels) and can_run(x, channels, x)
    assert can_run(x, Channels(None, None, None, None))
    for other in (x.double(), x.half(), x.contiguous(), x[:, :, :, ::2], x[0], x[:0], x.to("meta")):
        assert not can_run(other, channels)
        assert not can_run(x, channels, other)
    for other in (channels_of(8), channels._replace(bias=channels.bias.bfloat16())):
        assert not can_run(x, other)
    assert not can_run(x, channels._replace(weight=torch.randn(16, 2)[:, 0]))
    with backends.backend("reference"):
        assert not can_run(x, channels)
    assert can_run(x, channels)
