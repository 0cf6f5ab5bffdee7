"""Involution2d: shapes, names, options, and the original's values."""

from itertools import product
from math import ceil

import pytest
import torch
from torch import nn

from rednet import Involution2d, involution2d

GENERATORS = {
    "bottleneck": ("bottleneck", {}),
    "linear": ("linear", {}),
    "attention": ("attention", {}),
    "softmax": ("attention", {"softmax": True}),
    "position": ("attention", {"softmax": True, "relative_position": True}),
}


class OriginalInvolution(nn.Module):
    """The original repository's module, in its variant without CUDA."""

    def __init__(self, channels, kernel_size, stride):
        super().__init__()
        self.kernel_size, self.stride = kernel_size, stride
        self.group_channels = 16
        self.groups = channels // self.group_channels
        self.reduce = nn.Conv2d(channels, channels // 4, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels // 4)
        self.span = nn.Conv2d(channels // 4, kernel_size**2 * self.groups, 1)
        self.avgpool = nn.AvgPool2d(stride, stride) if stride > 1 else nn.Identity()
        self.unfold = nn.Unfold(kernel_size, 1, (kernel_size - 1) // 2, stride)

    def forward(self, x):
        weight = self.span(torch.relu(self.norm(self.reduce(self.avgpool(x)))))
        b, _, h, w = weight.shape
        weight = weight.view(b, self.groups, self.kernel_size**2, h, w).unsqueeze(2)
        out = self.unfold(x).view(b, self.groups, self.group_channels, self.kernel_size**2, h, w)
        return (weight * out).sum(3).view(b, -1, h, w)


def copy_to_original(layer, original):
    original.reduce.load_state_dict(layer.conv1.conv.state_dict())
    original.norm.load_state_dict(layer.conv1.bn.state_dict())
    original.span.load_state_dict(layer.conv2.conv.state_dict())


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    ("kernel_size", "stride", "size"),
    [
        (7, 1, (14, 9)),
        (7, 2, (14, 8)),
        (3, 1, (6, 6)),
        (3, 2, (2, 4)),
        (7, 2, (2, 2)),
        (5, 3, (9, 6)),
    ],
)
def test_the_originals_values(kernel_size, stride, size, training, backward):
    layer = Involution2d(32, kernel_size, stride).double().train(training)
    nn.init.normal_(layer.conv1.bn.running_mean)
    nn.init.uniform_(layer.conv1.bn.running_var, 0.5, 2)
    nn.init.normal_(layer.conv2.conv.bias)
    original = OriginalInvolution(32, kernel_size, stride).double().train(training)
    copy_to_original(layer, original)
    x = torch.randn(3, 32, *size).double()
    ours, theirs = (list(backward(module, x).values()) for module in (layer, original))
    torch.testing.assert_close(ours, theirs, check_dtype=False)
    torch.testing.assert_close(layer.conv1.bn.running_mean, original.norm.running_mean)


@pytest.mark.parametrize(("stride", "dilation"), list(product([1, 2, 3], [1, 2, 3])))
def test_output_sizes_are_rounded_up(stride, dilation):
    for kernel_size in (1, 3, 5, 7, 9):
        layer = Involution2d(2, kernel_size, stride, dilation, group_channels=1).eval()
        for height, width in zip(range(1, 21), [3, 20, 1, 2, 7, 10, 4] * 3, strict=False):
            with torch.no_grad():
                output = layer(torch.ones(1, 2, height, width))
            assert output.shape == (1, 2, ceil(height / stride), ceil(width / stride))


@pytest.mark.parametrize("generator", GENERATORS)
def test_every_generator_at_odd_sizes_trains(generator, backward):
    name, options = GENERATORS[generator]
    for stride, size in ((1, (5, 4)), (2, (7, 9)), (3, (8, 7))):
        layer = Involution2d(
            8, 5, stride, 2, group_channels=4, generator=name, generator_options=options
        )
        found = backward(layer, torch.randn(3, 8, *size))
        assert found["output"].shape == (3, 8, ceil(size[0] / stride), ceil(size[1] / stride))
        for key, tensor in found.items():
            assert tensor is not None and tensor.isfinite().all(), key


def test_names_and_shapes_of_the_parameters_are_the_originals():
    shapes = {name: tuple(t.shape) for name, t in Involution2d(64).state_dict().items()}
    assert shapes == {
        "conv1.conv.weight": (16, 64, 1, 1),
        "conv1.bn.weight": (16,),
        "conv1.bn.bias": (16,),
        "conv1.bn.running_mean": (16,),
        "conv1.bn.running_var": (16,),
        "conv1.bn.num_batches_tracked": (),
        "conv2.conv.weight": (196, 16, 1, 1),
        "conv2.conv.bias": (196,),
    }


@pytest.mark.parametrize(
    ("options", "groups", "inner"),
    [
        ({}, 4, 16),
        ({"group_channels": 1}, 64, 16),
        ({"group_channels": 64}, 1, 16),
        ({"group_channels": "layer"}, 1, 16),
        ({"reduction": 1}, 4, 64),
        ({"reduction": 100}, 4, 1),
        ({"kernel_size": 3, "stride": 2, "dilation": 2}, 4, 16),
    ],
)
def test_groups_and_reduction(options, groups, inner):
    layer = Involution2d(64, **options)
    area = options.get("kernel_size", 7) ** 2
    assert layer.groups == groups
    assert layer.conv1.conv.weight.shape[:2] == (inner, 64)
    assert layer.conv2.conv.weight.shape[:2] == (groups * area, inner)


def test_norm_and_activation_reach_the_generator():
    layer = Involution2d(32, norm_layer=nn.InstanceNorm2d, act_layer=nn.SiLU)
    assert isinstance(layer.conv1.bn, nn.InstanceNorm2d)
    assert isinstance(layer.conv1.act, nn.SiLU)
    by_name = Involution2d(32, norm_layer="groupnorm1", act_layer="gelu")
    assert isinstance(by_name.conv1.bn, nn.GroupNorm)


@pytest.mark.parametrize("generator", GENERATORS)
@pytest.mark.parametrize("stride", [1, 2])
def test_kernel_and_apply_kernel(generator, stride, make_layer):
    name, options = GENERATORS[generator]
    layer = make_layer(32, 3, stride, generator=name, generator_options=options).eval()
    x = torch.randn(2, 32, 7, 6)
    kernel = layer.kernel(x)
    assert kernel.shape == (2, 2 * 9, ceil(7 / stride), ceil(6 / stride))
    assert torch.equal(layer(x), layer.apply_kernel(x, kernel))
    assert torch.equal(layer(x), involution2d(x, kernel, 3, stride, 1))


@pytest.mark.parametrize("generator", GENERATORS)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_output_has_the_layout_of_the_input(generator, layout, make_layer):
    name, options = GENERATORS[generator]
    layer = make_layer(32, 3, 2, generator=name, generator_options=options)
    x = torch.randn(2, 32, 9, 6).contiguous(memory_format=layout)
    assert layer.to(memory_format=layout)(x).is_contiguous(memory_format=layout)


def test_convolutions_are_initialised_as_in_the_original():
    torch.manual_seed(0)
    layer = Involution2d(256)
    for conv in (layer.conv1.conv, layer.conv2.conv):
        assert conv.weight.std().item() == pytest.approx((2 / conv.out_channels) ** 0.5, rel=0.03)
    assert layer.conv2.conv.bias.abs().max() == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_size": 4}, "kernel_size must be odd, got 4"),
        ({"kernel_size": -3}, "kernel_size must be at least 1, got -3"),
        (
            {"kernel_size": (7, 5)},
            r"kernel_size must be an integer or a pair .* square; got \(7, 5\)",
        ),
        ({"stride": (2, 1)}, r"stride must be an integer or a pair of equal ones"),
        ({"dilation": 1.5}, "dilation must be an integer, got 1.5"),
        ({"channels": 32.0}, "channels must be an integer, got 32.0"),
        ({"reduction": 4.0}, "reduction must be an integer, got 4.0"),
        ({"stride": 0}, "stride must be at least 1, got 0"),
        ({"dilation": 0}, "dilation must be at least 1, got 0"),
        ({"group_channels": 12}, "divisor of 32 channels or 'layer', got 12"),
        ({"group_channels": 0}, "divisor of 32 channels or 'layer', got 0"),
        ({"group_channels": "all"}, "divisor of 32 channels or 'layer', got 'all'"),
        ({"group_channels": None}, "divisor of 32 channels or 'layer', got None"),
        ({"reduction": 0}, "reduction must be at least 1, got 0"),
        ({"generator": "conv"}, "'conv': choose from bottleneck, linear, attention"),
        ({"generator_options": {"softmax": True}}, "'bottleneck' has no option 'softmax'"),
        (
            {"generator": "attention", "generator_options": {"soft": True}},
            "no option 'soft'; its options: softmax, relative_position",
        ),
        ({"norm_layer": "batchnorm3"}, "no norm_layer 'batchnorm3'"),
        ({"act_layer": "rellu"}, "no act_layer 'rellu'"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        Involution2d(**{"channels": 32, **options})


def test_pairs_of_equal_sides(make_layer):
    x = torch.randn(1, 32, 7, 6)
    pairs = make_layer(32, (5, 5), stride=[2, 2], dilation=(1, 1))
    assert torch.equal(pairs(x), make_layer(32, 5, stride=2)(x))
    assert repr(pairs) == repr(make_layer(32, 5, stride=2))


class Averaging(Involution2d):
    """A layer whose kernels do not depend on the image."""

    def kernel(self, x):
        return torch.full_like(super().kernel(x), 1 / self.window.area)


class Halving(Involution2d):
    def apply_kernel(self, x, kernel):
        return super().apply_kernel(x, kernel.mul_(0.5))


@pytest.mark.parametrize("recompute", [False, True])
def test_subclasses_replace_either_step(recompute, make_layer, backward):
    x = torch.ones(1, 32, 7, 6)
    averaging = Averaging(32, 3, recompute_kernel=recompute)
    torch.testing.assert_close(averaging(x)[:, :, 1:-1, 1:-1], x[:, :, 1:-1, 1:-1])
    torch.manual_seed(0)
    halving = backward(Halving(32, 3, recompute_kernel=recompute), x + x.cumsum(3))
    plain = backward(make_layer(32, 3), x + x.cumsum(3), weigh=lambda output: (output / 2).sin())
    torch.testing.assert_close(halving.pop("output") * 2, plain.pop("output"))
    torch.testing.assert_close(halving, plain)


def test_the_numbers_are_printed():
    text = repr(Involution2d(32, 5, 2, 3))
    assert "32, kernel_size=5, stride=2, dilation=3, groups=2" in text
