"""Optimized networks: the same outputs, what is fused, and what happens otherwise."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from io import StringIO

import pytest
import torch
from calibrated import calibrated
from torch import nn

import rednet

SIZE = 32
TINY = {"layers": (1, 2, 1, 1), "width": 0.25, "stem": "small", "num_classes": 10}


def images(batch=3, size=SIZE, channels=3):
    return torch.randn(batch, channels, size, size, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def model():
    return calibrated(images(8), **TINY)


@pytest.fixture(scope="module")
def printed():
    """What is printed when `optimized` is made."""
    return StringIO()


@pytest.fixture(scope="module")
def optimized(model, printed):
    model.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with redirect_stdout(printed):
        network = rednet.optimize(model, images())
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    torch.testing.assert_close(dict(model.state_dict()), before, rtol=0, atol=0)
    model.eval()
    return network


@pytest.fixture
def small():
    """A network that is exported in no time."""
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(4, 5)).eval()


@torch.no_grad()
def assert_same(found, model, x, tolerance=1e-4):
    expected = model(x)
    assert (found - expected).abs().max() < tolerance * expected.abs().max()
    if tolerance <= 1e-4:
        assert torch.equal(found.argmax(1), expected.argmax(1))


def calls(network):
    graph = network._graphs[0].graph
    return Counter(str(node.target) for node in graph.nodes if node.op == "call_function")


@pytest.mark.parametrize("batch", [1, 3, 5])
def test_any_number_of_images(model, optimized, batch):
    assert_same(optimized(images(batch)), model, images(batch))


def test_everything_is_fused(optimized):
    found = calls(optimized)
    assert sum(count for name, count in found.items() if "span_involution2d" in name) == 6
    assert found["mkldnn._convolution_pointwise_.binary"] == 5
    assert not any(name in str(found) for name in ("batch_norm", "relu", "aten.add", "aten.conv"))


def test_the_line_tells_time_and_speed(optimized, printed):
    line = printed.getvalue()
    assert line.startswith("optimized in ")
    assert "ms a batch of 3" in line
    assert line.count("\n") == 1


def test_bfloat16(model, capsys):
    weights = [parameter.clone() for parameter in model.parameters()]
    with torch.autocast("cpu", torch.bfloat16):
        network = rednet.optimize(model, images(), quiet=True)
    assert network.reason is None
    assert capsys.readouterr().out == ""
    torch.testing.assert_close(list(model.parameters()), weights, rtol=0, atol=0)
    found = network(images())
    assert found.dtype is torch.bfloat16
    assert_same(found.float(), model, images(), 0.1)


def test_another_size_runs_as_before_and_is_told_once(model, optimized, capsys):
    other = images(2, 45)
    for _ in range(2):
        assert_same(optimized(other), model, other)
    line = "optimized for images of 3x32x32: those of 3x45x45 run as before"
    assert capsys.readouterr().out.count(line) == 1


@pytest.mark.parametrize(
    ("dtype", "reason"),
    [(torch.float64, "not in torch.float64"), (torch.float16, "not in torch.float16")],
)
def test_other_dtypes_run_as_before(dtype, reason, small, capsys):
    model, x = small.to(dtype), images(2, 4).to(dtype)
    network = rednet.optimize(model, x)
    line = capsys.readouterr().out
    assert line.startswith("not optimized, runs as before: ")
    assert reason in line
    assert torch.equal(network(x), model(x))


def test_a_network_that_cannot_be_exported_runs_as_before(capsys):
    class Branch(nn.Module):
        def forward(self, x):
            return x * 2 if x.sum() > 0 else x

    network = rednet.optimize(Branch(), images())
    assert capsys.readouterr().out.count("not optimized, runs as before: ") == 1
    assert torch.equal(network(images()), Branch()(images()))


def test_wrong_results_are_not_used(small, monkeypatch):
    monkeypatch.setattr("rednet.optimization.network.pack", lambda graph, batch: lambda x: x.mean())
    network = rednet.optimize(small, images(), quiet=True)
    assert "relative error" in network.reason
    assert_same(network(images()), small, images())


@pytest.mark.parametrize("example", [torch.zeros(3, 8, 8), torch.zeros(0, 3, 8, 8), [1]])
def test_an_example_that_is_no_batch(small, example):
    with pytest.raises(rednet.errors.InputError, match="example must be images"):
        rednet.optimize(small, example)


def test_it_is_for_inference_only(optimized):
    assert not optimized.training
    with pytest.raises(RuntimeError, match="cannot be trained"):
        optimized.train()
    assert not optimized(images().requires_grad_()).requires_grad


def test_threads(optimized):
    batches = [images(2) * scale for scale in (1.0, 0.5, 2.0, 1.5)]
    expected = [optimized(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            for found, value in zip(pool.map(optimized, batches), expected, strict=True):
                assert torch.equal(found, value)


class Sums(nn.Module):
    """Sums whose terms must not be written over."""

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(4, 4, 1) for _ in range(6))
        self.wide = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x):
        a, b, c, d, e, f = self.convs
        x = a(x) + x  # the input of the network
        y = b(x).relu()
        y = c(y) + y  # the convolution reads the other term
        late = d(y)
        z = (e(x) + y).relu()  # computed before `late` is used
        z = z + self.wide(z)
        u = f(z)
        return (u + late + y + u).flatten(1)


def test_sums_are_written_over_only_where_nothing_reads_them_later():
    torch.manual_seed(0)
    model, x = Sums().eval(), images(2, 6, 4)
    kept = x.clone()
    network = rednet.optimize(model, x, quiet=True)
    assert network.reason is None
    found = network(x)
    assert torch.equal(x, kept)
    torch.testing.assert_close(found, model(x).detach())


OTHERS = [
    ("resnet18", {}),
    ("rednet26", TINY | {"generator": "attention", "generator_options": {"softmax": True}}),
    ("rednet26", TINY | {"generator": "linear", "norm_layer": "groupnorm1"}),
    ("rednet26", TINY | {"involution_stages": (1, 4), "act_layer": "silu"}),
]


@pytest.mark.nightly
@pytest.mark.parametrize(("name", "options"), [*OTHERS, ("resnet50", {}), ("rednet50", {})])
@pytest.mark.parametrize("precise", [True, False])
def test_other_networks(name, options, precise):
    model = calibrated(images(8), name, **options)
    with torch.autocast("cpu", torch.bfloat16, enabled=not precise):
        network = rednet.optimize(model, images(), quiet=True)
    assert network.reason is None
    assert_same(network(images(2)).float(), model, images(2), 1e-4 if precise else 0.2)


def test_without_onednn_networks_run_as_before(small, monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    network = rednet.optimize(small, images(), quiet=True)
    assert network.reason == "this PyTorch is built without oneDNN"
    assert_same(network(images()), small, images())
