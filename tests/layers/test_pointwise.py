"""PointwiseConv2d is nn.Conv2d, however it is changed, in each of the forms it is computed in."""

import copy

import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.nn.utils import fuse_conv_bn_eval, parametrizations, prune
from torch.utils.flop_counter import FlopCounterMode

from rednet.layers import PointwiseConv2d, pointwise_forms
from rednet.layers.pointwise_forms import (
    CONVOLUTIONS,
    PRODUCTS,
    Forms,
    forms_of,
    set_pointwise_forms,
    using_pointwise_forms,
)
from rednet.ops import compiler

OF_INTEL, OF_AMD = forms_of("GenuineIntel"), forms_of("AuthenticAMD")
FORMS = {
    "Intel": OF_INTEL,
    "mixed": Forms("convolution", "convolution", "product"),
    "opposite": Forms("product", "product", "convolution"),
    "AMD": OF_AMD,
}


@pytest.fixture(params=FORMS.values(), ids=FORMS)
def forms(request):
    with using_pointwise_forms(request.param):
        yield request.param


@pytest.fixture(autouse=True)
def products():
    with using_pointwise_forms(PRODUCTS):
        yield


def images(channels=6, **options):
    values = torch.randn(2, channels, 5, 4, generator=torch.Generator().manual_seed(0))
    return values.to(memory_format=torch.channels_last, **options)


def pair():
    """Return a pointwise convolution, and torch's with the same parameters."""
    torch.manual_seed(0)
    ours, theirs = PointwiseConv2d(6, 4), nn.Conv2d(6, 4, 1, bias=False)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def is_matrix_product(output):
    return output.grad_fn.name() == "PermuteBackward0"


def run(conv, x):
    """Return the output, and the gradients of the input and of all parameters."""
    x = x.detach().clone().requires_grad_()
    output = conv(x)
    output.sin().sum().backward()
    return [output.detach(), x.grad, *(p.grad for p in conv.parameters())]


def assert_same(ours, theirs, x=None):
    x = images() if x is None else x
    for found, expected in zip(run(ours, x), run(theirs, x), strict=True):
        torch.testing.assert_close(found, expected)


def test_each_direction_is_computed_in_its_form(forms):
    with torch.profiler.profile() as profile:
        assert_same(*pair())
    seen = {event.key for event in profile.key_averages()}
    assert ("aten::mm" in seen) == (forms != CONVOLUTIONS)
    ours = pair()[0]
    with torch.profiler.profile() as profile:
        run(ours, images())
    seen = {event.key for event in profile.key_averages()}
    assert ("aten::convolution" in seen) == (forms.forward == "convolution")
    backward = "convolution" in (forms.input_gradient, forms.weight_gradient)
    assert ("aten::convolution_backward" in seen) == backward


def test_second_derivatives(forms):
    ours, theirs = pair()
    results = []
    for conv in (ours, theirs):
        x = images().requires_grad_()
        grads = torch.autograd.grad(conv(x).sin().sum(), [x, conv.weight], create_graph=True)
        loss = sum(grad.square().sum() for grad in grads)
        results.append(torch.autograd.grad(loss, [x, conv.weight]))
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)


def test_what_needs_no_gradient_gets_none(forms):
    ours, theirs = pair()
    for conv in (ours, theirs):
        conv.weight.requires_grad_(False)
        x = images().requires_grad_()
        conv(x).mean().backward()  # an expanded gradient
        assert conv.weight.grad is None
        conv.input_grad = x.grad
    torch.testing.assert_close(ours.input_grad, theirs.input_grad)


def test_the_rule_goes_by_vendor(monkeypatch, tmp_path):
    set_pointwise_forms(None)
    assert OF_INTEL == forms_of("") == PRODUCTS != OF_AMD == CONVOLUTIONS
    for vendor in ("AuthenticAMD", "GenuineIntel"):
        (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nvendor_id\t: {vendor}\n")
        monkeypatch.setattr(compiler, "CPU_INFO", tmp_path / "cpuinfo")
        pointwise_forms.cpu_vendor.cache_clear()
        assert pointwise_forms.pointwise_forms() == forms_of(vendor)
    pointwise_forms.cpu_vendor.cache_clear()


def test_it_is_a_matrix_product():
    ours, theirs = pair()
    assert is_matrix_product(ours(images()))
    assert_same(ours, theirs)
    assert_same(ours.to(memory_format=torch.channels_last), theirs)
    assert is_matrix_product(ours(images()))


def test_the_gradient_has_the_strides_of_the_weight(forms):
    """Or DistributedDataParallel warns."""
    conv = pair()[0].to(memory_format=torch.channels_last)
    (gradient,) = torch.autograd.grad(conv(images()).sin().sum(), conv.weight)
    assert gradient.stride() == conv.weight.stride()


def set_bias(conv):
    conv.bias = nn.Parameter(torch.arange(4.0))


def set_weight(conv):
    conv.weight = nn.Parameter(torch.arange(4.0 * 6 * 9).reshape(4, 6, 3, 3) / 99)


def set_groups(conv):
    conv.groups = 2
    conv.weight = nn.Parameter(conv.weight[:, :3].detach().clone())


def set_reflection(conv):
    conv.padding_mode, conv.padding = "reflect", (1, 1)
    conv._reversed_padding_repeated_twice = [1, 1, 1, 1]


CHANGES = {
    "bias": set_bias,
    "3x3 weight": set_weight,
    "groups": set_groups,
    "reflection": set_reflection,
    "stride": lambda conv: setattr(conv, "stride", (2, 2)),
    "stride as a number": lambda conv: setattr(conv, "stride", 2),
    "padding": lambda conv: setattr(conv, "padding", (1, 0)),
    "padding by name": lambda conv: setattr(conv, "padding", "same"),
    "dilation": lambda conv: setattr(conv, "dilation", (2, 2)),
    "new weight": lambda conv: setattr(conv, "weight", nn.Parameter(conv.weight.detach() * 2)),
    "frozen": lambda conv: conv.weight.requires_grad_(False),
    "weight norm": parametrizations.weight_norm,
    "orthogonal": lambda conv: (torch.manual_seed(1), parametrizations.orthogonal(conv)),
    "pruned": lambda conv: prune.l1_unstructured(conv, "weight", 0.5),
    "scaled by a hook": lambda conv: conv.register_forward_hook(lambda *args: args[2] * 3),
    "replaced forward": lambda conv: setattr(conv, "forward", lambda x: x * 2),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_changed_after_construction_counts(change, forms):
    ours, theirs = pair()
    for conv in (ours, theirs):
        CHANGES[change](conv)
    assert_same(ours, theirs)


def test_a_batch_norm_fused_into_it():
    ours, theirs = pair()
    norm = nn.BatchNorm2d(4)
    norm(theirs(images()))
    nn.init.uniform_(norm.bias)
    fused = fuse_conv_bn_eval(ours.eval(), norm.eval())
    torch.testing.assert_close(fused(images()), norm(theirs(images())))
    fused.bias.requires_grad_()
    fused(images()).sum().backward()
    assert torch.equal(fused.bias.grad, torch.full((4,), 40.0))


class Doubled(PointwiseConv2d):
    def _conv_forward(self, input, weight, bias):
        return super()._conv_forward(input, weight * 2, bias)


def test_a_subclass_and_a_shared_weight():
    ours, theirs = pair()
    doubled = Doubled(6, 4)
    doubled.weight = ours.weight
    torch.testing.assert_close(doubled(images()), theirs(images()) * 2)
    x = images()
    (ours(x) + doubled(x)).sum().backward()
    (theirs(x) * 3).sum().backward()
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)


def test_other_parameters_for_one_call():
    ours, theirs = pair()
    other = {"weight": torch.ones(4, 6, 1, 1, requires_grad=True)}
    outputs = [torch.func.functional_call(conv, other, images()) for conv in (ours, theirs)]
    torch.testing.assert_close(*outputs)
    assert is_matrix_product(outputs[0])


class OtherTensor(torch.Tensor):
    pass


@pytest.mark.parametrize(
    "x",
    [
        images().contiguous(),
        images().double(),
        images()[:0],
        images()[0],
        images()[:, :, ::2],
        images().as_subclass(OtherTensor),
        torch._neg_view(images()),
        images(device="meta"),
    ],
    ids=["contiguous", "double", "empty", "one image", "rows", "subclass", "negative", "meta"],
)
def test_everything_else_is_a_convolution(x):
    ours, theirs = (conv.to(x.device, x.dtype) for conv in pair())
    output, expected = ours(x), theirs(x)
    assert output.grad_fn.name() == expected.grad_fn.name()
    assert type(output) is type(expected)
    assert x.device.type == "meta" or torch.equal(output, expected)


def test_what_observes_operations_sees_a_convolution():
    ours = pair()[0]
    with FlopCounterMode(display=False) as counter:
        ours(images())
    assert [str(name) for name in counter.flop_counts["Global"]] == ["aten.convolution"]
    with torch.autocast("cpu", torch.bfloat16):
        assert ours(images()).grad_fn.name() == pair()[1](images()).grad_fn.name()
    with FakeTensorMode(allow_non_fake_inputs=True):
        assert ours(images()).shape == (2, 4, 5, 4)


@pytest.mark.parametrize("wrong", [images(5), images().long()], ids=["channels", "integers"])
def test_errors_are_those_of_the_convolution(wrong):
    messages = []
    for conv in pair():
        with pytest.raises(RuntimeError) as error:
            conv(wrong)
        messages.append(str(error.value))
    assert messages[0] == messages[1]


@pytest.mark.filterwarnings("ignore:`torch.jit.script`")
@pytest.mark.parametrize("transform", [torch.func.jacrev, torch.func.jacfwd, torch.vmap])
def test_transforms_of_functions(transform):
    results = [
        transform(lambda x, conv=conv: conv(x.flatten(0, -4)))(images()[:, None]) for conv in pair()
    ]
    torch.testing.assert_close(*results)


def test_copies_compute_the_same():
    ours = pair()[0]
    assert torch.equal(copy.deepcopy(ours)(images()), ours(images()))
