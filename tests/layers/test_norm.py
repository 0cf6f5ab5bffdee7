"""Fused normalisation, shortcut and activation: the same as the separate modules."""

import copy
from inspect import signature

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
    register_module_full_backward_hook,
)
from torch.utils.flop_counter import FlopCounterMode
from torchvision.ops import FrozenBatchNorm2d

from rednet.layers.norm import norm_act
from rednet.layers.recompute import checkpoint_module
from rednet.ops import backends
from rednet.ops.batch_norm import _library

pytestmark = pytest.mark.filterwarnings("ignore:backend 'native' cannot run")
needs_library = pytest.mark.skipif(_library() is None, reason="the compiler makes no library")


@pytest.fixture(autouse=True)
def free_choice(monkeypatch):
    monkeypatch.delenv("REDNET_BACKEND", raising=False)
    monkeypatch.setattr(backends, "_forced", None)


def images(seed=0, shape=(3, 16, 5, 6), dtype=torch.float32):
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 2 + 0.5
    return values.to(dtype).contiguous(memory_format=torch.channels_last).requires_grad_()


def make_norm(training=True, **options):
    """Return a layer that has been trained on some batches."""
    generator = torch.Generator().manual_seed(9)
    norm = nn.BatchNorm2d(16, **options)
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.copy_(torch.randn(16, generator=generator))
    norm(images(8))
    return norm.train(training)


def plain(x, norm, act=None, shortcut=None):
    x = norm(x)
    x = x if shortcut is None else x + shortcut
    return x if act is None else act(x)


def is_fused(output):
    return type(output.grad_fn).__name__ == "_BatchNormBackward"


def assert_same(function, x, norm, act=None, shortcut=None, steps=3):
    """Compare outputs, gradients and buffers of `function` with those of the plain formula."""
    results = []
    for run in (function, plain):
        layer = copy.deepcopy(norm)
        inputs = [None if t is None else t.detach().clone().requires_grad_() for t in (x, shortcut)]
        for _ in range(steps):
            output = run(inputs[0], layer, act, inputs[1])
            output.float().pow(3).sum().backward()
        gradients = [t.grad for t in (*inputs, *layer.parameters()) if t is not None]
        results.append([output.detach(), *gradients, *layer.buffers()])
    for actual, wanted in zip(*results, strict=True):
        assert actual.dtype == wanted.dtype
        # The plain formula rounds to bfloat16 after each operation.
        tolerance = 3e-2 if x.dtype == torch.bfloat16 else 2e-5
        scale = wanted.abs().max().clamp(min=1).item()
        torch.testing.assert_close(actual, wanted, rtol=tolerance, atol=tolerance * scale)
        assert actual.stride() == wanted.stride()


OPTIONS = [
    *({}, {"affine": False}, {"bias": False}, {"momentum": None}, {"momentum": 0.0}, {"eps": 0.1}),
    *({"track_running_stats": False}, {"affine": False, "track_running_stats": False}),
]


@needs_library
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("adds", [False, True])
def test_options_of_the_layer(options, training, adds):
    if not options.keys() <= signature(nn.BatchNorm2d).parameters.keys():
        pytest.skip("this torch has no such option")
    norm, shortcut = make_norm(training, **options), images(1) if adds else None
    assert is_fused(norm_act(images(), norm, nn.ReLU(), shortcut))
    assert_same(norm_act, images(), norm, nn.ReLU(inplace=True), shortcut)


@needs_library
@pytest.mark.parametrize("act", [None, nn.Identity(), nn.ReLU(), nn.ReLU(inplace=True)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("adds", [False, True])
def test_activations_and_dtypes(act, dtype, adds):
    shortcut = images(1, dtype=dtype) if adds else None
    assert is_fused(norm_act(images(dtype=dtype), make_norm(), act, shortcut))
    assert_same(norm_act, images(dtype=dtype), make_norm(), act, shortcut, steps=1)


@needs_library
def test_training_without_tracking_tensors():
    norm = make_norm()
    norm.running_mean = norm.running_var = norm.num_batches_tracked = None
    assert is_fused(norm_act(images(), norm))
    assert_same(norm_act, images(), norm)
    assert_same(norm_act, images(), norm.eval())


@needs_library
def test_tracking_switched_off_later():
    norm = make_norm()
    norm.track_running_stats = False
    before = norm.running_mean.clone()
    assert_same(norm_act, images(), norm)
    assert is_fused(norm_act(images(), norm)) and torch.equal(norm.running_mean, before)


@pytest.mark.parametrize("function", [norm_act, plain])
@pytest.mark.parametrize(
    ("options", "shape", "error"),
    [
        ({}, (1, 16, 1, 1), "more than 1 value"),
        ({}, (2, 8, 3, 3), "contain 8"),
        ({"eps": 0.0}, (2, 16, 3, 3), "eps"),
    ],
    ids=str,
)
def test_errors_are_those_of_the_layer(function, options, shape, error):
    norm = make_norm()
    norm.eps = options.get("eps", norm.eps)
    with pytest.raises((ValueError, RuntimeError), match=error):
        function(images(shape=shape), norm, nn.ReLU())


def test_an_empty_batch():
    x = images(shape=(0, 16, 3, 3))
    assert norm_act(x, make_norm(False), nn.ReLU(), x).shape == x.shape


class OtherNorm(nn.BatchNorm2d):
    pass


class OtherReLU(nn.ReLU):
    pass


class OtherTensor(torch.Tensor):
    pass


@pytest.mark.parametrize(
    "change",
    [
        {"norm": OtherNorm(16)},
        {"norm": FrozenBatchNorm2d(16)},
        {"norm": nn.GroupNorm(4, 16)},
        {"norm": nn.Identity()},
        {"norm": nn.SyncBatchNorm(16).eval()},
        {"norm": nn.BatchNorm2d(16).double(), "x": images().double()},
        {"norm": nn.BatchNorm2d(16).bfloat16(), "x": images(dtype=torch.bfloat16)},
        {"act": nn.SiLU()},
        {"act": nn.LeakyReLU()},
        {"act": OtherReLU()},
        {"x": images().detach().contiguous().requires_grad_()},
        {"x": images(shape=(3, 16, 5, 12)).detach()[..., ::2].requires_grad_()},
        {"shortcut": images(dtype=torch.bfloat16)},
        {"shortcut": images().double()},
        {"shortcut": images(shape=(3, 16, 1, 1))},
        {"shortcut": images().detach().contiguous().requires_grad_()},
        {"x": images().detach().as_subclass(OtherTensor).requires_grad_()},
        {"x": images().to("meta"), "norm": nn.BatchNorm2d(16).to("meta"), "shortcut": None},
    ],
    ids=lambda change: " ".join(f"{k}:{type(v).__name__}" for k, v in change.items()),
)
def test_everything_else_uses_the_modules(change):
    arguments = {"x": images(), "norm": make_norm(), "act": nn.ReLU(), "shortcut": images(1)}
    arguments |= change
    output, wanted = norm_act(**arguments), plain(**arguments)
    assert not is_fused(output)
    assert type(output) is type(wanted)
    assert output.device.type == "meta" or torch.equal(output, wanted)


@needs_library
@pytest.mark.parametrize("where", ["norm", "act"])
@pytest.mark.parametrize("kind", ["forward", "forward_pre", "full_backward", "full_backward_pre"])
def test_hooks_of_the_modules_are_called(where, kind):
    modules = {"norm": make_norm(), "act": nn.ReLU()}
    calls = []
    hook = getattr(modules[where], f"register_{kind}_hook")(lambda *args: calls.append(args))
    norm_act(images(), **modules, shortcut=images(1)).sum().backward()
    assert len(calls) == 1 and calls[0][0] is modules[where]
    hook.remove()
    assert is_fused(norm_act(images(), **modules))


@needs_library
@pytest.mark.parametrize(
    "register",
    [
        register_module_forward_hook,
        register_module_forward_pre_hook,
        register_module_full_backward_hook,
    ],
)
def test_global_hooks_are_called(register):
    calls = []
    hook = register(lambda *args: calls.append(type(args[0])))
    try:
        norm_act(images(), make_norm(), nn.ReLU()).sum().backward()
    finally:
        hook.remove()
    assert calls.count(nn.ReLU) == 1


def test_a_replaced_forward_is_called():
    norm = make_norm()
    norm.forward = lambda x: x * 2
    x = images()
    assert torch.equal(norm_act(x, norm, nn.ReLU()), (x * 2).relu())


@pytest.mark.parametrize("kind", [nn.BatchNorm2d, nn.ReLU])
def test_a_forward_replaced_in_the_class_is_called(kind, monkeypatch):
    forward = kind.forward
    monkeypatch.setattr(kind, "forward", lambda self, x: forward(self, x) + 1)
    x, norm = images(), make_norm(False)
    assert torch.equal(norm_act(x, norm, nn.ReLU()), plain(x, norm, nn.ReLU()))


@needs_library
def test_the_reference_backend_is_plain(monkeypatch):
    with backends.backend("reference"):
        assert not is_fused(norm_act(images(), make_norm()))
    with backends.backend("native"):
        assert is_fused(norm_act(images(), make_norm()))
    monkeypatch.setenv("REDNET_BACKEND", "reference")
    assert not is_fused(norm_act(images(), make_norm()))


@needs_library
def test_modes_see_the_single_operations():
    norm, x = make_norm(), images()
    with FlopCounterMode(display=False):
        output = norm_act(x, norm, nn.ReLU())
    assert not is_fused(output)
    fused = norm_act(x, norm, nn.ReLU())
    with FlopCounterMode(display=False):
        (watched,) = torch.autograd.grad(fused.sum(), x, retain_graph=True)
    (wanted,) = torch.autograd.grad(fused.sum(), x)
    torch.testing.assert_close(watched, wanted)


@pytest.mark.filterwarnings("ignore:`torch.jit.script`")
@pytest.mark.parametrize("training", [False, True])
def test_transforms_of_functions(training):
    norm = make_norm(training, track_running_stats=not training)
    x, act = images().detach(), nn.ReLU()
    tangent = images(2).detach()

    def loss(function):
        return lambda x: function(x, norm, act).sin().sum()

    torch.testing.assert_close(torch.func.grad(loss(norm_act))(x), torch.func.grad(loss(plain))(x))
    derivatives = []
    for function in (norm_act, plain):
        with forward_ad.dual_level():
            output = function(forward_ad.make_dual(x, tangent), norm, act)
            derivatives.append(forward_ad.unpack_dual(output).tangent)
    torch.testing.assert_close(*derivatives)


@needs_library
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("adds", [False, True])
@pytest.mark.parametrize("affine", [False, True])
def test_second_derivatives(training, relu, adds, affine):
    act, norm = nn.ReLU() if relu else None, make_norm(training, affine=affine)

    def penalty(function):
        x, shortcut = images(), images(1) if adds else None
        leaves = [t for t in (x, shortcut, *norm.parameters()) if t is not None]
        output = function(x, norm, act, shortcut)
        assert is_fused(output) == (function is norm_act)
        first = torch.autograd.grad((output * output.sin()).sum(), leaves, create_graph=True)
        loss = sum((gradient.sin() * gradient).sum() for gradient in first)
        return [*first, *torch.autograd.grad(loss, leaves)]

    for actual, wanted in zip(penalty(norm_act), penalty(plain), strict=True):
        scale = wanted.abs().max().clamp(min=1).item()
        torch.testing.assert_close(actual, wanted, rtol=0, atol=1e-4 * scale)


@needs_library
def test_autocast_gives_the_dtype_of_the_modules():
    conv, norm = nn.Conv2d(16, 16, 1).to(memory_format=torch.channels_last), make_norm()
    with torch.autocast("cpu", torch.bfloat16):
        output = norm_act(conv(images()), norm, nn.ReLU())
        wanted = plain(conv(images()), norm, nn.ReLU())
    assert is_fused(output) and output.dtype == wanted.dtype == torch.bfloat16


@needs_library
def test_without_gradients():
    x, norm = images(), make_norm(False)
    wanted = plain(x, norm, nn.ReLU()).detach()
    for context in (torch.no_grad(), torch.inference_mode()):
        with context:
            torch.testing.assert_close(norm_act(x, norm, nn.ReLU()), wanted)


class Block(nn.Module):
    """Two convolutions with every feature of `norm_act`."""

    def __init__(self, function=norm_act):
        super().__init__()
        torch.manual_seed(0)
        self.function = function
        self.conv1, self.conv2 = (nn.Conv2d(16, 16, 1, bias=False) for _ in range(2))
        self.norm1, self.norm2 = nn.BatchNorm2d(16), nn.BatchNorm2d(16)
        self.act1, self.act2 = nn.ReLU(inplace=True), nn.ReLU(inplace=True)
        self.to(memory_format=torch.channels_last)

    def forward(self, x):
        inside = self.function(self.conv1(x), self.norm1, self.act1)
        return self.function(self.conv2(inside), self.norm2, self.act2, x)


def trained(block, apply):
    x = images()
    output = apply(block, x)
    output.sin().sum().backward()
    return [output.detach(), x.grad, *(p.grad for p in block.parameters()), *block.buffers()]


@pytest.mark.parametrize(
    "apply",
    [
        lambda block, x: block(x),
        checkpoint_module,
        lambda block, x: torch.utils.checkpoint.checkpoint(block, x, use_reentrant=False),
    ],
    ids=["as it is", "frozen statistics", "checkpoint"],
)
def test_blocks_train_alike(apply):
    for actual, wanted in zip(trained(Block(), apply), trained(Block(plain), apply), strict=True):
        torch.testing.assert_close(actual, wanted, rtol=1e-4, atol=1e-5)


def test_saved_tensors_may_be_moved():
    with torch.autograd.graph.save_on_cpu():
        moved = trained(Block(), lambda block, x: block(x))
    for actual, wanted in zip(moved, trained(Block(), lambda block, x: block(x)), strict=True):
        assert torch.equal(actual, wanted)


@pytest.mark.parametrize("training", [False, True])
def test_whole_graphs(training):
    block = Block().train(training)
    wanted = copy.deepcopy(block)(images()).detach()
    compiled = torch.compile(copy.deepcopy(block), backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(images()).detach(), wanted)
    exported = torch.export.export(copy.deepcopy(block), (images().detach(),))
    torch.testing.assert_close(exported.module()(images()).detach(), wanted)
    assert "batch_norm" in str(exported.graph)
    symbolic = torch.fx.symbolic_trace(copy.deepcopy(block))
    torch.testing.assert_close(symbolic(images()).detach(), wanted)


@pytest.mark.filterwarnings("ignore:`torch.jit.trace")
def test_a_recorded_trace():
    block = Block().eval()
    trace = torch.jit.trace(block, images().detach())
    assert "batch_norm" in str(trace.inlined_graph)
    torch.testing.assert_close(trace(images(2)), block(images(2)))


@needs_library
def test_saved_tensors_may_be_given_back_otherwise():
    """The kernel must not read memory of another dtype or layout than that of the forward pass."""
    norm, x, shortcut = make_norm(), images(), images(1)
    (expected,) = torch.autograd.grad(norm_act(x, norm, nn.ReLU(), shortcut).sin().sum(), x)
    for change in (torch.Tensor.double, lambda t: t.contiguous().clone()):
        with torch.autograd.graph.saved_tensors_hooks(change, lambda tensor: tensor):
            output = norm_act(x, norm, nn.ReLU(), shortcut)
        assert is_fused(output)
        torch.testing.assert_close(torch.autograd.grad(output.sin().sum(), x)[0], expected)
