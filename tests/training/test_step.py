import copy
import math

import pytest
import torch
import torch.nn.functional as F
from equal_runs import assert_equal_states
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from rednet.runtime import Runtime
from rednet.training.batches import MicroBatch
from rednet.training.clipping import Clipping
from rednet.training.losses import CrossEntropy
from rednet.training.stand_in import stand_in
from rednet.training.step import TrainStep


def network(inputs=12):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, 8), nn.Tanh(), nn.Linear(8, 4))


def samples(count, seed=1):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(count, 3, 2, 2, generator=generator)
    return MicroBatch(images, torch.randint(4, (count,), generator=generator))


def make(model, lr=0.1, precision="fp32", batch=8, **settings):
    optimizer = torch.optim.SGD(model.parameters(), lr)
    return TrainStep(model, optimizer, Runtime(precision=precision), batch, **settings)


def weights(model):
    return [p.detach().clone() for p in model.parameters()]


def test_a_step_is_plain_gradient_descent_on_the_mean_smoothed_loss():
    model, oracle = network(), network()
    images, targets, *_ = samples(8)
    result = make(model, loss=CrossEntropy(0.1))([MicroBatch(images, targets)], lr=0.3)
    loss = F.cross_entropy(oracle(images), targets, label_smoothing=0.1)
    grads = torch.autograd.grad(loss, list(oracle.parameters()))
    for new, old, grad in zip(model.parameters(), oracle.parameters(), grads, strict=True):
        torch.testing.assert_close(new, old - 0.3 * grad)
    assert result.loss_sum / result.num_samples == pytest.approx(loss.item())
    assert result.grad_norm == pytest.approx(torch.cat([g.flatten() for g in grads]).norm().item())
    assert result.updated


@pytest.mark.parametrize("parts", [(8,), (3, 5), (1, 1, 3), (2,)])
def test_accumulation_gives_the_mean_over_all_samples(parts):
    """Also where a step has fewer samples than a full one."""
    images, targets, *_ = samples(sum(parts))
    whole, split = network(), network()
    make(whole, batch=len(targets))([MicroBatch(images, targets)], lr=0.5)
    pieces = list(map(MicroBatch, images.split(list(parts)), targets.split(list(parts))))
    make(split, batch=8)(pieces, lr=0.5)
    for one, other in zip(weights(whole), weights(split), strict=True):
        torch.testing.assert_close(one, other)


def test_norm_clipping_limits_the_step_and_reports_the_norm_before():
    model = network()
    before = weights(model)
    result = make(model, clipping=Clipping(0.01, "norm"))([samples(8)], lr=1.0)
    moved = torch.cat([(a - b).flatten() for a, b in zip(before, weights(model), strict=True)])
    assert result.grad_norm > 0.1
    assert moved.norm().item() == pytest.approx(0.01, rel=1e-3)


def test_value_clipping_limits_every_gradient():
    model = network()
    before = weights(model)
    make(model, clipping=Clipping(0.001, "value"))([samples(8)], lr=1.0)
    moved = max((a - b).abs().max() for a, b in zip(before, weights(model), strict=True))
    assert moved.item() == pytest.approx(0.001, rel=1e-3)


def test_adaptive_clipping_leaves_the_classifier_alone():
    clipped, free = network(), network()
    make(clipped, clipping=Clipping(0.001, "agc"))([samples(8)], lr=1.0)
    make(free)([samples(8)], lr=1.0)
    torch.testing.assert_close(clipped[3].weight, free[3].weight)
    assert not torch.allclose(clipped[1].weight, free[1].weight)


def poisoned(count=8):
    batch = samples(count)
    batch.images[0] = math.nan
    return batch


class Exploding(torch.autograd.Function):
    """Identity with an infinite gradient."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad * math.inf


class ExplodingNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = network()

    def forward(self, x):
        return Exploding.apply(self.inner(x))


def test_a_non_finite_gradient_moves_no_weights_although_the_loss_is_finite():
    model = ExplodingNetwork()
    before = weights(model)
    result = make(model, clipping=Clipping(1.0))([samples(8)], lr=0.1)
    assert math.isfinite(result.loss_sum)
    assert (math.isfinite(result.grad_norm), result.updated, result.is_suspect) == (
        *(False, False, True),
    )
    assert all(map(torch.equal, before, weights(model)))


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_non_finite_loss_leaves_no_trace(precision):
    """Neither in the weights, nor in what the forward pass writes: statistics of batch norm."""
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), network(16))
    step = make(model, precision=precision)
    step([samples(8)], lr=0.1)
    before = copy.deepcopy(model.state_dict())
    result = step([samples(8), poisoned()], lr=0.1)
    assert (result.updated, result.is_suspect) == (False, True)
    assert_equal_states(model.state_dict(), before)
    assert step([samples(8)], lr=0.1).updated
    assert not torch.equal(before["0.weight"], model[0].weight)


def test_fp16_overflow_halves_the_scale():
    step = make(ExplodingNetwork(), precision="fp16")
    scale = step.scaler.get_scale()
    assert not step([samples(8)], lr=0.1).updated
    assert step.scaler.get_scale() == scale / 2


def test_numbers_travel_with_the_loss():
    assert make(network())([samples(8)], lr=0.1, counts=(3, 0)).counts == (3, 0)


def test_fp16_scaling_does_not_show_in_the_norm():
    plain, scaled = network(), network()
    expected = make(plain)([samples(8)], lr=0.1).grad_norm
    assert make(scaled, precision="fp16")([samples(8)], lr=0.1).grad_norm == pytest.approx(
        expected, rel=2e-2
    )


class ScalarReads(TorchDispatchMode):
    """Counts how often the host reads a number of a tensor by `item`, `float` or `bool`."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **kwargs or {})


@pytest.mark.parametrize(
    "clipping", [Clipping(), Clipping(0.1, "norm"), Clipping(0.1, "value"), Clipping(0.1, "agc")]
)
@pytest.mark.parametrize("count", [8, 5])
def test_a_step_waits_for_the_device_once(clipping, count, monkeypatch):
    transfers = []
    tolist = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda x: transfers.append(x) or tolist(x))
    step = make(network(), clipping=clipping)
    with ScalarReads() as reads:
        step([samples(count)], lr=0.1)
    assert (len(transfers), reads.count) == (1, 0)


@pytest.mark.parametrize("place", [0, 1])
def test_a_micro_batch_without_samples_changes_nothing(place):
    """It passes a stand-in through the network, for the sake of other ranks."""
    model, alone = (nn.Sequential(nn.BatchNorm2d(3), network()) for _ in range(2))
    empty = MicroBatch(stand_in((3, 2, 2)), torch.empty(0, dtype=torch.int64))
    batches = [samples(8)]
    expected = make(alone)(batches, lr=0.1)
    batches.insert(place, empty)
    assert make(model)(batches, lr=0.1) == expected
    for one, other in zip(model.state_dict().values(), alone.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    assert model[0].training


def test_a_step_without_samples_leaves_everything_as_it_is():
    model = nn.Sequential(nn.BatchNorm2d(3), network())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    empty = MicroBatch(stand_in((3, 2, 2)), torch.empty(0, dtype=torch.int64))
    result = make(model)([empty], lr=0.1)
    assert (result.num_samples, result.updated, result.is_suspect) == (0, False, False)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])
