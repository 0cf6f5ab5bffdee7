"""Every pair of option values works together, and a wrong value is named."""

import random
from itertools import combinations, product

import pytest
import timm
import torch
from torch import nn

OPTIONS = {
    "kernel_size": [1, 3, 7],
    "group_channels": [4, 16, "layer"],
    "reduction": [1, 4, 16],
    "generator": ["bottleneck", "linear", "attention", "softmax"],
    "recompute_kernel": [True, False, "auto"],
    "stem": ["involution3", "involution7", "conv7", "small"],
    "width": [0.25, 0.4],
    "layers": [(1, 1, 1, 1), (1, 2, 1, 2)],
    "involution_stages": [(1, 2, 3, 4), (3, 4), (), [2]],
    "num_classes": [0, 5],
    "in_chans": [1, 3],
    "drop_path_rate": [0.0, 0.3],
    "drop_rate": [0.0, 0.2],
    "output_stride": [8, 16, 32],
    "global_pool": ["avg", "max", "catavgmax"],
    "act_layer": ["relu", "silu", nn.GELU],
    "norm_layer": ["batchnorm2d", "groupnorm1", nn.Identity],
    "checkpointing": [False, True],
    "channels_last": [False, True],
    "autocast": [False, True],
    "size": [(32, 32), (33, 47)],
}
ATTENTION = {"softmax": True, "relative_position": True}


def all_pairs():
    """Return few combinations that contain every pair of values, by greedy covering."""
    draw = random.Random(0)
    missing = {
        frozenset(pair)
        for one, other in combinations(OPTIONS, 2)
        for pair in product(
            [(one, i) for i in range(len(OPTIONS[one]))],
            [(other, i) for i in range(len(OPTIONS[other]))],
        )
    }
    while missing:
        choice = dict(sorted(missing, key=sorted)[0])
        for name in draw.sample(sorted(OPTIONS), len(OPTIONS)):
            if name not in choice:
                choice[name] = best_value(name, choice, missing)
        missing -= pairs_of(choice)
        yield {name: OPTIONS[name][choice[name]] for name in OPTIONS}


def pairs_of(choice):
    return {frozenset(pair) for pair in combinations(choice.items(), 2)}


def best_value(name, choice, missing):
    """Return the value that adds most missing pairs to the values already chosen."""

    def gain(index):
        return sum(frozenset([(name, index), item]) in missing for item in choice.items())

    return max(range(len(OPTIONS[name])), key=gain)


PAIRS = list(all_pairs())


def split(choice):
    """Return the model's keyword arguments and how to run it."""
    run = {name: choice[name] for name in ("checkpointing", "channels_last", "autocast", "size")}
    options = {name: value for name, value in choice.items() if name not in run}
    if options["generator"] == "softmax":
        options |= {"generator": "attention", "generator_options": ATTENTION}
    return options, run


def test_every_pair_is_covered():
    for one, other in combinations(OPTIONS, 2):
        found = {(OPTIONS[one].index(c[one]), OPTIONS[other].index(c[other])) for c in PAIRS}
        assert len(found) == len(OPTIONS[one]) * len(OPTIONS[other])
    assert len(PAIRS) < 40


@pytest.mark.parametrize("number", range(len(PAIRS)))
def test_all_options_in_pairs(number):
    options, run = split(PAIRS[number])
    torch.manual_seed(number)
    model = timm.create_model("rednet26", **options).train()
    model.set_grad_checkpointing(run["checkpointing"])
    layout = torch.channels_last if run["channels_last"] else torch.contiguous_format
    model = model.to(memory_format=layout)
    for module in model.modules():
        if hasattr(module, "zero_init_last") and getattr(module.bn3, "weight", None) is not None:
            nn.init.ones_(module.bn3.weight)
    images = torch.randn(4, options["in_chans"], *run["size"]).contiguous(memory_format=layout)
    with torch.autocast("cpu", torch.bfloat16, enabled=run["autocast"]):
        output = model(images)
    assert output.shape == (4, options["num_classes"] or model.head_hidden_size)
    output.float().square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    assert output.isfinite().all()


WRONG = [
    ({"layers": (3, 4, 6)}, r"four numbers of at least 1, got \[3, 4, 6\]"),
    ({"layers": (3, 4, 0, 3)}, r"four numbers of at least 1, got \[3, 4, 0, 3\]"),
    ({"in_chans": 0}, "in_chans must be at least 1, got 0"),
    ({"output_stride": 4}, "output_stride must be 8, 16 or 32, got 4"),
    ({"stem": "involution5"}, "'involution5'; choose from involution3, involution7, conv7, small"),
    ({"width": 0.0}, r"width must be positive, got 0\.0"),
    ({"width": -1}, "width must be positive, got -1"),
    ({"involution_stages": [0, 1]}, r"among 1 to 4, got \[0, 1\]"),
    ({"involution_stages": [5]}, r"among 1 to 4, got \[5\]"),
    ({"kernel_size": 6}, "kernel_size must be odd, got 6"),
    ({"group_channels": 24}, "divisor of 64 channels or 'layer', got 24"),
    ({"group_channels": "all"}, "divisor of 64 channels or 'layer', got 'all'"),
    ({"reduction": 0}, "reduction must be at least 1, got 0"),
    ({"generator": "convolution"}, "choose from bottleneck, linear, attention"),
    ({"generator_options": {"softmax": True}}, "'bottleneck' has no option 'softmax'"),
    ({"drop_rate": 1.0}, r"drop_rate must be at least 0 and below 1, got 1\.0"),
    ({"drop_path_rate": -0.1}, r"drop_path_rate must be at least 0 and below 1, got -0\.1"),
    ({"global_pool": "mean"}, r"global_pool must be one of .*'avg'.*, got 'mean'"),
    ({"global_pool": ""}, "num_classes=1000 needs a global_pool; '' needs num_classes=0"),
    ({"norm_layer": "batchnormal"}, "no norm_layer 'batchnormal'.*'groupnorm1'"),
    ({"act_layer": "rellu"}, "no act_layer 'rellu'.*'relu'"),
]


@pytest.mark.parametrize(("options", "message"), WRONG)
def test_a_wrong_value_is_named(options, message):
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        timm.create_model("rednet26", **options)


def test_an_unknown_option_is_refused():
    with pytest.raises(TypeError, match="kernel_sizes"):
        timm.create_model("rednet26", kernel_sizes=3)


def test_options_reach_the_bottlenecks_but_not_the_stem(make_tiny):
    model = make_tiny(kernel_size=5, group_channels="layer", reduction=2, generator="linear")
    assert model.layer3[0].conv2.window.kernel_size == 5
    assert model.layer3[0].conv2.groups == 1
    stem = model.stem[1]
    assert (stem.window.kernel_size, stem.channels // stem.groups) == (3, 16)
    assert stem.conv1.conv.out_channels == stem.channels // 4
    assert stem.conv2.conv.bias is not None
    assert make_tiny(reduction=2).layer3[0].conv2.conv1.conv.out_channels == 32


def test_recomputation_reaches_the_stem_too(make_tiny):
    model = make_tiny(recompute_kernel=False)
    assert not model.stem[1].recompute_kernel
    assert not model.layer4[0].conv2.recompute_kernel


@pytest.mark.parametrize("stages", [(1, 2, 3, 4), (2, 4), ()])
def test_hybrids(stages, make_tiny):
    model = make_tiny(involution_stages=stages)
    for stage in range(1, 5):
        middle = getattr(model, f"layer{stage}")[0].conv2
        assert isinstance(middle, nn.Conv2d) == (stage not in stages)


@pytest.mark.parametrize(
    ("width", "widths"),
    [(1.0, [64, 256, 512, 1024, 2048]), (0.5, [32, 128, 256, 512, 1024]), (2, [128, 512])],
)
def test_widths(width, widths):
    with torch.device("meta"):
        model = timm.create_model("rednet26", width=width)
    assert [info["num_chs"] for info in model.feature_info][: len(widths)] == widths


def test_widths_are_multiples_of_the_groups(make_tiny):
    for width in (0.01, 0.3, 0.77, 1.3):
        with torch.device("meta"):
            model = timm.create_model("rednet26", width=width)
        assert all(info["num_chs"] % 16 == 0 for info in model.feature_info)
