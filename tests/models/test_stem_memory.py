"""The first layers of a stem are computed again in the backward pass, unnoticed."""

import pytest
import timm
import torch
from torch import nn

import rednet.registry  # noqa: F401 (registers the names with timm)
from rednet.models import blocks

OPTIONS = {"width": 0.25, "num_classes": 5}


def make(**options):
    torch.manual_seed(0)
    return timm.create_model("rednet26", **OPTIONS | options)


def train(model, images, steps=2):
    """Take some steps; return losses, gradients and buffers."""
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = model(images).logsumexp(1).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return losses, [p.grad for p in model.parameters()], list(model.buffers())


@pytest.fixture
def images():
    torch.manual_seed(1)
    return torch.randn(2, 3, 64, 64).contiguous(memory_format=torch.channels_last)


@pytest.fixture
def runs(monkeypatch):
    """Count how often the first layers of stems run."""
    made = []
    start = blocks._start_stem
    monkeypatch.setattr(blocks, "_start_stem", lambda layers, x: made.append(x) or start(layers, x))
    return made


@pytest.mark.parametrize("options", [{}, {"stem": "small"}], ids=str)
def test_nothing_changes_but_the_memory(options, images, runs, monkeypatch):
    found = train(make(**options), images)
    assert len(runs) == 4
    monkeypatch.setattr(blocks, "may_checkpoint", lambda *args: False)
    expected = train(make(**options), images)
    assert len(runs) == 6
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def _hook(model):
    model.stem[0].conv.register_forward_hook(lambda *args: None)


def _random(model):
    model.stem[3] = nn.Sequential(nn.ReLU(), nn.Dropout())


def _keep(model):
    model.stem[1].recompute_kernel = False


@pytest.mark.parametrize("change", [_hook, _random, _keep, nn.Module.eval])
def test_where_it_could_be_noticed_it_runs_once(change, images, runs):
    model = make()
    change(model)
    model(images).sum().backward()
    assert len(runs) == 1
