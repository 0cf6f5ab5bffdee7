"""Networks of the tables from a name and options in timm, and back."""

import pytest
import timm

from rednet.paper.networks import Network, network_from_options, resnet


@pytest.mark.parametrize(
    ("name", "options", "network"),
    [
        ("rednet50", {}, Network(50)),
        ("rednet50", {"stem": "involution3", "kernel_size": 7}, Network(50)),
        ("rednet26", {"layers": [1, 2, 4, 1]}, Network(26)),
        ("rednet50", {"layers": [1, 2, 4, 1]}, Network(26)),
        ("rednet26", {"layers": [3, 4, 6, 3]}, Network(50)),
        ("rednet26", {"norm_layer": "batchnorm2d", "act_layer": "relu"}, Network(26)),
        ("rednet26", {"norm_layer": "groupnorm1"}, None),
        ("rednet26", {"global_pool": "fastavg"}, Network(26)),
        ("rednet26", {"global_pool": "max"}, None),
        ("rednet50.paper_in1k", {}, Network(50)),
        ("rednet50", {"involution_stages": [2, 1]}, Network(50, involution_stages=(1, 2))),
        ("rednet50", {"generator": "linear", "reduction": 8}, Network(50, generator="linear")),
        ("rednet50", {"generator_options": {}}, Network(50)),
        (
            "rednet50",
            {"stem": "conv7", "involution_stages": [], "kernel_size": 3, "generator": "linear"},
            resnet(50),
        ),
        ("rednet26", {"stem": None, "recompute_kernel": False, "drop_rate": 0.1}, Network(26)),
        ("rednet26", {"num_classes": 1000, "in_chans": 3}, Network(26)),
        ("rednet50", {"involution_stages": [1, 2]}, Network(50, involution_stages=(1, 2))),
        ("rednet38", {"stem": "conv7", "involution_stages": []}, resnet(38)),
        (
            "rednet50",
            {"stem": "conv7", "group_channels": "layer"},
            Network(50, "conv7", group_channels="layer"),
        ),
        (
            "rednet50",
            {
                "generator": "attention",
                "generator_options": {"softmax": True, "relative_position": False},
            },
            Network(50, generator="attention", generator_options=("softmax",)),
        ),
        ("resnet101", {}, resnet(101)),
        ("resnet50.a1_in1k", {"num_classes": 1000, "in_chans": 3}, resnet(50)),
        ("resnet50", {"global_pool": "fastavg", "act_layer": "relu"}, resnet(50)),
        ("resnet50", {"act_layer": "silu"}, None),
        ("resnet50", {"output_stride": 8}, None),
        ("resnet26", {}, None),
        ("resnet26d", {}, None),
        ("rednet18", {}, None),
        ("rednet50x", {}, None),
        ("rednet50", {"width": 0.5}, None),
        ("rednet50", {"layers": [1, 1, 1, 1]}, None),
        ("rednet50", {"num_classes": 10}, None),
        ("mobilenetv3_small_100", {}, None),
    ],
)
def test_network_from_options(name, options, network):
    assert network_from_options(name, options) == network


@pytest.mark.parametrize(
    "network",
    [
        Network(26),
        resnet(26),
        Network(50, "conv7", kernel_size=3, reduction=16),
        Network(50, generator="attention", generator_options=("relative_position", "softmax")),
    ],
    ids=str,
)
def test_options_give_back_the_network(network):
    assert network_from_options(network.model, network.options) == network
    parameters = sum(p.numel() for p in network.build().parameters())
    model = timm.create_model(network.model, **network.options)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert network.complexity().parameters == parameters


def test_the_text_names_the_options_that_are_not_defaults():
    assert str(Network(50)) == "rednet50"
    assert str(Network(50, "conv7", kernel_size=3)) == "rednet50 stem=conv7 kernel_size=3"
