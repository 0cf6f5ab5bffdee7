"""The counter against arithmetic by hand, a closed formula, timm's ResNet and torch's counter."""

from functools import cache

import pytest
import timm
import torch
from timm.layers import SelectAdaptivePool2d
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from rednet import Involution2d
from rednet.models.blocks import Bottleneck, conv3x3
from rednet.paper.complexity import count_complexity

BLOCKS = {
    26: (1, 2, 4, 1),
    38: (2, 3, 5, 2),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}


def on_meta(name, **options):
    with torch.device("meta"):
        return timm.create_model(name, **options)


@cache
def complexity_of(name, **options):
    """Return the complexity of a model of timm; counting the larger ones takes a while."""
    return count_complexity(on_meta(name, **options))


def macs_and_flops(module, size):
    """Return (macs, flops) of a module for an input (1, *size)."""
    complexity = count_complexity(module, size)
    return complexity.macs, complexity.flops


# All sizes differ, so that confusing two of them changes a count.
@pytest.mark.parametrize(
    ("module", "size", "macs", "flops"),
    [
        (nn.Conv2d(6, 10, 3, bias=False), (6, 9, 7), 6 * 10 * 9 * (7 * 5), 6 * 10 * 9 * (7 * 5)),
        (nn.Conv2d(6, 10, 3, padding=1), (6, 9, 7), 540 * 63, 540 * 63 + 10 * 63),
        (nn.Conv2d(6, 10, 3, 2, 1), (6, 9, 7), 540 * 20, 540 * 20 + 10 * 20),
        (nn.Conv2d(6, 10, 3, groups=2, dilation=2), (6, 9, 7), 270 * 15, 270 * 15 + 10 * 15),
        (nn.Conv1d(6, 10, 3), (6, 9), 180 * 7, 180 * 7 + 10 * 7),
        (nn.ConvTranspose2d(6, 10, 3, 2), (6, 4, 5), 540 * 20, 540 * 20 + 10 * 9 * 11),
        (nn.Linear(6, 10), (9, 6), 60 * 9, 0),
        (nn.Linear(6, 10, bias=False), (9, 6), 60 * 9, 0),
        (nn.BatchNorm2d(6), (6, 9, 7), 0, 2 * 6 * 63),
        (nn.BatchNorm2d(6, affine=False), (6, 9, 7), 0, 6 * 63),
        (nn.ReLU(), (6, 9, 7), 0, 6 * 63),
        (nn.ReLU(inplace=True), (6, 9, 7), 0, 6 * 63),
        (nn.MaxPool2d(3, 2, 1), (6, 9, 7), 0, 6 * 63),
        (nn.AvgPool2d(2), (6, 9, 7), 0, 6 * 63),
        (nn.AdaptiveAvgPool2d(1), (6, 9, 7), 0, 6 * 63),
        (nn.AdaptiveAvgPool2d(2), (6, 9, 7), 0, 6 * 63),
        (SelectAdaptivePool2d(pool_type="fast"), (6, 9, 7), 0, 6 * 63),
        (nn.SiLU(), (6, 9, 7), 0, 0),
        (nn.LayerNorm(7), (6, 9, 7), 0, 0),
        (nn.Identity(), (6, 9, 7), 0, 0),
    ],
    ids=str,
)
def test_single_functions(module, size, macs, flops):
    assert macs_and_flops(module, size) == (macs, flops)


class Product(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize(
    ("function", "macs"),
    [
        (lambda x: x @ x.mT, 3 * 4 * 5 * 4),
        (lambda x: torch.baddbmm(torch.zeros(3, 4, 4, device=x.device), x, x.mT), 3 * 4 * 5 * 4),
        (lambda x: x[0] @ x[0].mT, 4 * 5 * 4),
    ],
)
def test_matrix_products(function, macs):
    module = nn.Sequential(nn.Flatten(0, 1), Product(function))
    assert macs_and_flops(module, (3, 4, 5)) == (macs, 0)


def test_a_single_involution():
    layer = Involution2d(32, kernel_size=5, stride=2, group_channels=8, reduction=4)
    reduce, span, product = 32 * 8, 8 * (4 * 25), 25 * 32
    macs = (reduce + span + product) * 5 * 7
    pooling, norm_and_relu, bias = 32 * 10 * 14, 3 * 8 * 5 * 7, 4 * 25 * 5 * 7
    assert macs_and_flops(layer, (32, 10, 14)) == (macs, macs + pooling + norm_and_relu + bias)


def test_a_single_self_attention():
    layer = Involution2d(32, kernel_size=5, group_channels=8, reduction=4, generator="attention")
    heads = 4 * 2
    projections, scores, product = 2 * 32 * heads, 25 * heads, 25 * 32
    macs = (projections + scores + product) * 6 * 7
    cost = count_complexity(layer, (32, 6, 7))
    assert (cost.macs, cost.flops) == (macs, macs + 2 * heads * 6 * 7)
    assert cost.by_kind()["attention"] == (scores * 42, scores * 42)
    assert cost.uncounted == {"mul": 1}


def test_a_bottleneck_by_hand():
    """Count the first block of ResNet's second stage on 8 x 8 pixels."""
    block = Bottleneck(256, 128, conv3x3, stride=2)
    convolutions = 256 * 128 * 64 + 128 * 128 * 9 * 16 + 128 * 512 * 16 + 256 * 512 * 16
    norms = 2 * (128 * 64 + 128 * 16 + 512 * 16 + 512 * 16)
    relus = 128 * 64 + 128 * 16 + 512 * 16
    cost = count_complexity(block, (256, 8, 8))
    assert (cost.macs, cost.flops) == (convolutions, convolutions + norms + relus)
    assert cost.uncounted == {"add": 1}


def involution(width, kernel_size, side, stride):
    """Return MACs, and the FLOPs beyond them, of a layer on an even number of pixels."""
    narrow, kernels = width // 4, kernel_size**2 * width // 16
    out = (side // stride) ** 2
    macs = (width * narrow + narrow * kernels + kernel_size**2 * width) * out
    pooling = width * side**2 if stride > 1 else 0
    return macs, 3 * narrow * out + kernels * out + pooling


def closed_formula(blocks, stem_kernel):
    """Return (macs, flops) of a RedNet at 224 x 224, without the code under test."""
    macs, rest = involution(32, stem_kernel, 112, 1)
    macs += (3 * 32 * 9 + 32 * 64 * 9) * 112**2
    rest += 3 * (32 + 32 + 64) * 112**2 + 64 * 112**2
    inputs, side = 64, 56
    for stage, count in enumerate(blocks):
        width = 64 * 2**stage
        for block in range(count):
            stride = 2 if stage and not block else 1
            inner_macs, inner_rest = involution(width, 7, side, stride)
            before, after = side**2, (side // stride) ** 2
            macs += inputs * width * before + inner_macs + 4 * width**2 * after
            rest += 3 * width * before + inner_rest + 3 * width * after + 3 * 4 * width * after
            if not block:
                macs += inputs * 4 * width * after
                rest += 2 * 4 * width * after
            inputs, side = 4 * width, side // stride
    return macs + 2048 * 1000, macs + rest + 2048 * 7 * 7


@pytest.mark.parametrize(
    ("options", "stem_kernel"), [({}, 3), ({"stem": "involution7"}, 7)], ids=["3x3", "7x7"]
)
@pytest.mark.parametrize("depth", BLOCKS)
def test_rednets_against_a_closed_formula(depth, options, stem_kernel):
    cost = complexity_of(f"rednet{depth}", **options)
    assert (cost.macs, cost.flops) == closed_formula(BLOCKS[depth], stem_kernel)


# Parameters, FLOPs and MACs with the 3x3 stem, parameters and FLOPs with the 7x7 stem; in G.
TARGETS = {
    26: ((9_233_166, 1.7084, 1.6852), (9_233_886, 1.7334)),
    38: ((12_386_986, 2.1982, 2.1668), (12_387_706, 2.2233)),
    50: ((15_540_806, 2.6881, 2.6485), (15_541_526, 2.7132)),
    101: ((25_652_950, 4.7172, 4.6590), (25_653_670, 4.7423)),
    152: ((33_984_582, 6.7605, 6.6793), (33_985_302, 6.7856)),
}


@pytest.mark.parametrize("depth", TARGETS)
def test_rednets_against_known_counts(depth):
    (small, flops3, macs3), (large, flops7) = TARGETS[depth]
    released = complexity_of(f"rednet{depth}")
    published = complexity_of(f"rednet{depth}", stem="involution7")
    assert (released.parameters, published.parameters) == (small, large)
    found = released.flops, released.macs, published.flops
    assert tuple(round(count / 1e9, 4) for count in found) == (flops3, macs3, flops7)


@pytest.mark.parametrize(
    ("depth", "flops"), [(26, 2.36), (38, 3.24), (50, 4.12), (101, 7.85), (152, 11.58)]
)
def test_resnets_match_the_plotted_flops(depth, flops):
    complexity = complexity_of(f"rednet{depth}", stem="conv7", involution_stages=())
    assert round(complexity.flops / 1e9, 2) == flops


def test_resnet50_costs_as_much_as_that_of_timm():
    ours = complexity_of("rednet50", stem="conv7", involution_stages=())
    theirs = complexity_of("resnet50")
    assert (ours.macs, ours.flops) == (theirs.macs, theirs.flops)
    assert round(theirs.macs / 1e9, 2) == 4.09
    assert ours.parameters == theirs.parameters == 25_557_032


@pytest.mark.parametrize("name", ["resnet50", "mobilenetv3_small_100", "vit_tiny_patch16_224"])
def test_torch_counts_equal_macs(name):
    model = on_meta(name).eval()
    with FlopCounterMode(display=False) as counter:
        model(torch.empty(1, 3, 224, 224, device="meta"))
    assert complexity_of(name).macs == counter.get_total_flops() / 2


def test_torch_counts_equal_macs_with_a_formula_for_involution():
    def product(input, weight, kernel_size, *window, out_val, **kwargs):
        return 2 * kernel_size**2 * out_val.numel()

    product._get_raw = True
    mapping = {torch.ops.rednet.involution2d: product}
    model = on_meta("rednet26").eval()
    with FlopCounterMode(display=False, custom_mapping=mapping) as counter, torch.no_grad():
        model(torch.empty(1, 3, 224, 224, device="meta"))
    assert complexity_of("rednet26").macs == counter.get_total_flops() / 2


def test_the_parts_add_up():
    cost = complexity_of("rednet26")
    for sums in (cost.by_kind(), cost.by_child()):
        assert tuple(map(sum, zip(*sums.values(), strict=True))) == (cost.macs, cost.flops)
    stage = cost.within("layer2")
    assert (stage.macs, stage.flops) == cost.by_child()["layer2"]
    assert sum(cost.within(child).parameters for child in cost.by_child()) == cost.parameters
    blocks = [cost.within(f"layer2.{index}").macs for index in range(2)]
    assert sum(blocks) == stage.macs
    assert list(cost.by_child()) == [
        "stem",
        "maxpool",
        *(f"layer{stage}" for stage in range(1, 5)),
        "global_pool",
        "fc",
    ]


def test_uncounted_functions_are_listed():
    cost = complexity_of("vit_tiny_patch16_224")
    assert {"gelu", "native_layer_norm", "_safe_softmax", "add"} <= cost.uncounted.keys()


def test_counting_does_not_change_the_network():
    model = timm.create_model("rednet26", width=0.25, layers=(1, 1, 1, 1), num_classes=5)
    model.layer1.eval()
    weights = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    count_complexity(model, (3, 32, 32))
    assert (model.training, model.layer1.training) == (True, False)
    assert not any(module._forward_hooks for module in model.modules())
    for key, tensor in model.state_dict().items():
        assert torch.equal(tensor, weights[key])


def test_odd_sizes_and_gray_images():
    cost = count_complexity(on_meta("rednet26", in_chans=1, width=0.25), (1, 45, 33))
    assert cost.macs > 0
    assert cost.within("fc").macs == cost.by_kind()["linear"][0] == 512 * 1000


def test_frozen_parameters_do_not_count():
    model = nn.Sequential(nn.Linear(3, 4))
    model[0].bias.requires_grad_(False)
    cost = count_complexity(model, (2, 3))
    assert (cost.parameters, cost.weights) == (12, {"0.weight": 12})
