"""What is computed again in the backward pass is what was computed in the forward pass."""

import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.func import functional_call
from torch.nn.modules.module import register_module_forward_hook
from torch.nn.utils import parametrizations, spectral_norm

from rednet import Involution2d
from rednet.layers import checkpoint_module

SOFTMAX = {
    "generator": "attention",
    "generator_options": {"softmax": True, "relative_position": True},
}


def images():
    return torch.randn(2, 32, 7, 6, generator=torch.Generator().manual_seed(0)).requires_grad_()


def gradients(layer, x, *leaves):
    return torch.autograd.grad(layer(x).sin().sum(), [x, *(leaves or layer.parameters())])


@pytest.fixture(
    params=[{}, {"generator": "linear"}, SOFTMAX], ids=["bottleneck", "linear", "softmax"]
)
def pair(request, make_layer):
    """Return two equal layers, of which the first generates its kernels again."""
    return [
        make_layer(32, 3, recompute_kernel=recompute, **request.param)
        for recompute in (True, False)
    ]


def spectral_parametrization(layer):
    torch.manual_seed(0)
    parametrizations.spectral_norm(find_conv(layer))


def spectral_hook(layer):
    torch.manual_seed(0)
    spectral_norm(find_conv(layer))


def find_conv(layer):
    return next(module for module in layer.conv2.modules() if isinstance(module, nn.Conv2d))


class Noisy(nn.Conv2d):
    def forward(self, x):
        return super().forward(x) * torch.rand(())


def subclass(layer):
    conv = layer.conv2.conv
    layer.conv2.conv = Noisy(conv.in_channels, conv.out_channels, 1)
    layer.conv2.conv.load_state_dict(conv.state_dict())


CHANGES = {
    "spectral norm": spectral_parametrization,
    "spectral norm by a hook": spectral_hook,
    "noise": lambda layer: find_conv(layer).register_forward_hook(
        lambda *args: args[2] * torch.rand(())
    ),
    "dropout": lambda layer: setattr(
        layer.conv2, "conv", nn.Sequential(layer.conv2.conv, nn.Dropout())
    ),
    "subclass": subclass,
    "replaced forward": lambda layer: setattr(
        layer.conv2, "forward", lambda x: layer.conv2.conv(x) * torch.rand(())
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_kernels_that_would_differ_are_not_generated_again(change, make_layer):
    found = []
    for recompute in (True, False):
        layer = make_layer(32, 3, recompute_kernel=recompute)
        CHANGES[change](layer)
        torch.manual_seed(1)
        found.append([*gradients(layer, images()), *layer.buffers()])
    assert all(map(torch.equal, *found))


def test_hooks_are_called_once(pair):
    calls = []
    for layer in pair:
        layer.conv2.register_forward_hook(lambda *_: calls.append("own"))
        layer(images()).sum().backward()
    assert calls == ["own"] * 2
    hook = register_module_forward_hook(lambda module, *_: calls.append(type(module)))
    try:
        pair[0](images()).sum().backward()
    finally:
        hook.remove()
    assert calls.count(type(pair[0].conv2)) == 1


def test_parameters_of_one_call(pair):
    """`functional_call` puts the layer's own parameters back before the backward pass."""
    found = []
    for layer in pair:
        other = {name: (p.detach() * 1.5).requires_grad_() for name, p in layer.named_parameters()}
        leaves = [images(), *other.values()]
        output = functional_call(layer, other, leaves[0])
        found.append(torch.autograd.grad(output.sin().sum(), leaves))
    assert all(map(torch.equal, *found))


def test_parameters_of_one_call_through_a_checkpoint():
    torch.manual_seed(0)
    block = nn.Sequential(nn.Conv2d(32, 32, 1), nn.BatchNorm2d(32))
    other = {name: (p.detach() * 1.5).requires_grad_() for name, p in block.named_parameters()}
    found = []
    for apply in (checkpoint_module, lambda block, x: block(x)):
        holder = Holder(block, apply)
        leaves = [images(), *other.values()]
        names = {f"block.{name}": tensor for name, tensor in other.items()}
        output = functional_call(holder, names, leaves[0])
        found.append(torch.autograd.grad(output.sin().sum(), leaves))
    torch.testing.assert_close(*found)


class Holder(nn.Module):
    def __init__(self, block, apply):
        super().__init__()
        self.block, self.apply_block = block, apply

    def forward(self, x):
        return self.apply_block(self.block, x)


def test_a_modified_parameter_is_detected(pair):
    for layer in pair:
        x = images()
        output = layer(x)
        with torch.no_grad():
            find_conv(layer).weight.mul_(2)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            output.sum().backward()


def test_a_modified_parameter_is_detected_by_a_checkpoint():
    block = nn.Sequential(nn.Conv2d(32, 32, 1), nn.ReLU())
    output = checkpoint_module(block, images())
    with torch.no_grad():
        block[0].weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.BatchNorm2d(32),
        lambda: nn.InstanceNorm2d(32, track_running_stats=True),
        lambda: parametrizations.spectral_norm(nn.Conv2d(32, 32, 1)),
        lambda: nn.Sequential(nn.Dropout(), nn.BatchNorm2d(32, momentum=None)),
    ],
    ids=["batch norm", "instance norm", "spectral norm", "dropout"],
)
def test_a_checkpoint_updates_buffers_once(make):
    found = []
    for apply in (checkpoint_module, lambda block, x: block(x)):
        torch.manual_seed(0)
        block = make().train()
        x = images()
        torch.manual_seed(1)
        output = apply(block, x)
        leaves = [x, *block.parameters()]
        first = torch.autograd.grad(output.sin().sum(), leaves, retain_graph=True)
        found.append([*first, *torch.autograd.grad(output.sin().sum(), leaves), *block.buffers()])
    torch.testing.assert_close(*found, rtol=0, atol=0)


def test_transforms_and_fake_tensors(pair):
    x = images().detach()
    losses = [lambda x, layer=layer: layer.eval()(x).sin().sum() for layer in pair]
    found = [torch.func.grad(loss)(x) for loss in losses]
    assert torch.equal(*found)
    with FakeTensorMode(allow_non_fake_inputs=True):
        output = pair[0](torch.empty(2, 32, 7, 6, requires_grad=True))
        output.sum().backward()
    assert output.shape == x.shape


def test_softmax_switched_on_later(make_layer, record):
    options = {**SOFTMAX["generator_options"], "softmax": False}
    layer = make_layer(32, 3, generator="attention", generator_options=options)
    layer.conv2.softmax = True
    kernels = record(layer)
    output = layer(images())
    assert not kernels.kept
    expected = make_layer(32, 3, **SOFTMAX)(images())
    assert torch.equal(output, expected)


def test_the_layer_itself_recomputes(record):
    """The counterpart of all these exceptions: nothing of them applies to an ordinary layer."""
    kernels = record(layer := Involution2d(32))
    layer(images()).sum().backward()
    assert kernels.generated == 2
