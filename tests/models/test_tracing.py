"""Traces and graphs of a network, fused networks, hooks: the same values in every way to run it."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import fuse_conv_bn_eval
from torchvision.models.feature_extraction import create_feature_extractor

import rednet

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit")

SIZES = [(32, 32), (33, 15), (1, 2)]
GENERATORS = {
    "bottleneck": {},
    "linear": {"generator": "linear"},
    "attention": {
        "generator": "attention",
        "generator_options": {"softmax": True, "relative_position": True},
    },
}


@pytest.fixture(params=GENERATORS)
def model(request, make_tiny):
    return make_tiny(layers=(1, 1, 1, 1), **GENERATORS[request.param]).eval()


def assert_same_at_all_sizes(found, model, images):
    for size in SIZES:
        torch.testing.assert_close(found(images(*size, batch=3)), model(images(*size, batch=3)))


def test_a_trace_holds_for_every_size(model, images, tmp_path):
    trace = torch.jit.trace(model, images(32))  # and compares it with the model
    torch.jit.save(trace, tmp_path / "trace.pt")
    assert_same_at_all_sizes(torch.jit.load(tmp_path / "trace.pt"), model, images)


def test_a_trace_of_odd_sizes_holds_for_even_ones(make_tiny, images):
    model = make_tiny(layers=(1, 1, 1, 1)).eval()
    assert_same_at_all_sizes(torch.jit.trace(model, images(33, 15)), model, images)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # from torch's own batch norm
def test_a_trace_trains(make_tiny, images):
    model = make_tiny(layers=(1, 1, 1, 1)).train()
    model.set_grad_checkpointing()
    trace = torch.jit.trace(copy.deepcopy(model), images(33), check_trace=False)
    torch.testing.assert_close(gradients(trace, images(46)), gradients(model, images(46)))


def gradients(model, x):
    model(x).sin().sum().backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def test_a_symbolic_trace(model, images):
    graph = torch.fx.symbolic_trace(model)
    targets = [node.target for node in graph.graph.nodes]
    assert targets.count(rednet.involution2d) == 5
    assert_same_at_all_sizes(graph, model, images)
    assert_same_at_all_sizes(copy.deepcopy(graph), model, images)


def test_a_symbolic_trace_of_training(make_tiny, images):
    model = make_tiny(layers=(1, 1, 1, 1)).train()
    model.set_grad_checkpointing()
    graph = torch.fx.symbolic_trace(copy.deepcopy(model))
    torch.testing.assert_close(gradients(graph, images(33)), gradients(model, images(33)))


def test_torchvisions_feature_extractor(model, images):
    extractor = create_feature_extractor(model, {"layer1": "first", "layer4.0.conv2": "inner"})
    expected = {}
    for name, layer in (("first", model.layer1), ("inner", model.layer4[0].conv2)):
        layer.register_forward_hook(lambda *args, name=name: expected.update({name: args[2]}))
    model(images(33))
    torch.testing.assert_close(extractor(images(33)), expected)


@pytest.mark.parametrize("wrap", [lambda model: model, nn.Sequential])
def test_scripting_names_what_to_use_instead(wrap, make_tiny):
    with pytest.raises(RuntimeError, match=r"use torch\.export.*python -m rednet export") as e:
        torch.jit.script(wrap(make_tiny()))
    assert len(str(e.value).splitlines()) == 1
    with pytest.raises(RuntimeError, match="cannot compile Involution2d"):
        torch.jit.script(rednet.Involution2d(16))


def averaged(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return (torch.ops.rednet.involution2d(x, weight, 3, 1, 1, 1) + x) / 2


def test_a_function_that_calls_the_registered_operator_can_be_scripted():
    x, weight = torch.randn(1, 4, 5, 6), torch.randn(1, 9, 5, 6)
    assert torch.equal(torch.jit.script(averaged)(x, weight), averaged(x, weight))


PAIRS = (("conv", "bn"), ("conv1", "bn1"), ("conv3", "bn3"))


def fused(model):
    """Return a copy whose convolutions contain their batch norms."""
    model = copy.deepcopy(model)
    for module in model.modules():
        for conv, norm in PAIRS:
            if isinstance(getattr(module, norm, None), nn.BatchNorm2d):
                layers = getattr(module, conv), getattr(module, norm)
                setattr(module, conv, fuse_conv_bn_eval(*layers))
                setattr(module, norm, nn.Identity())
    return model


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_fused_batch_norms(layout, make_tiny, images):
    model = make_tiny()
    with torch.no_grad():
        model.train()(images())
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.bias)
    model = model.eval().to(memory_format=layout)
    x = images(33).to(memory_format=layout)
    torch.testing.assert_close(fused(model)(x), model(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_hooks_of_every_module_are_called(checkpointing, make_tiny, images):
    model = make_tiny().train()
    model.set_grad_checkpointing(checkpointing)
    called = set()
    for name, module in model.named_modules():
        module.register_forward_hook(lambda *_, name=name: called.add(name))
    model(images())
    assert {name for name, _ in model.named_modules()} - called == set()


def test_transforms_of_a_network(make_tiny, images):
    model = make_tiny(layers=(1, 1, 1, 1)).eval()
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def loss(parameters, image):
        return torch.func.functional_call(model, parameters, image[None]).sin().sum()

    found = torch.vmap(torch.func.grad(loss), (None, 0))(parameters, images(33))
    expected = gradients(model, images(33))
    for name, gradient in found.items():
        torch.testing.assert_close(gradient.sum(0), expected[name], rtol=1e-4, atol=1e-4)


def test_checkpointing_set_by_the_attribute(make_tiny):
    model = make_tiny()
    model.grad_checkpointing = True
    assert model.layer3.grad_checkpointing and model.grad_checkpointing
    model.layer4 = nn.Identity()
    model.set_grad_checkpointing(False)
    assert not model.grad_checkpointing
