"""A RedNet's architecture is inferred from its tensors."""

import pytest
import timm
import torch

from rednet.weights.architecture import count_classes, infer_architecture, list_guesses

SMALL = {"width": 0.25, "layers": [1, 2, 1, 1]}


@pytest.fixture
def shapes_of():
    """Return a function that builds a network on the meta device and returns its tensors."""

    def build(name, **options):
        with torch.device("meta"):
            return dict(timm.create_model(name, **options).state_dict())

    return build


@pytest.mark.parametrize(
    ("depth", "count"), [(26, 251), (38, 351), (50, 451), (101, 876), (152, 1301)]
)
@pytest.mark.parametrize("stem_kernel", [3, 7])
def test_the_released_networks(depth, count, stem_kernel, released_shapes, shapes_of):
    shapes = released_shapes(depth, stem_kernel)
    assert len(shapes) == count
    weights = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    options = {} if stem_kernel == 3 else {"stem": "involution7"}
    assert infer_architecture(weights) == {"name": f"rednet{depth}", "options": options}
    built = shapes_of(f"rednet{depth}", **options)
    assert {name: tuple(tensor.shape) for name, tensor in built.items()} == shapes


OPTIONS = [
    {"stem": "involution7"},
    {"stem": "conv7"},
    {"kernel_size": 3},
    {"kernel_size": 9, "group_channels": 4},
    {"kernel_size": 1},
    {"group_channels": 1},
    {"group_channels": "layer"},
    {"kernel_size": 5, "group_channels": "layer"},
    {"reduction": 1},
    {"reduction": 16},
    {"generator": "linear"},
    {"generator": "linear", "kernel_size": 3, "group_channels": 8},
    {"generator": "attention"},
    {"generator": "attention", "generator_options": {"relative_position": True}},
    {
        "generator": "attention",
        "generator_options": {"relative_position": True},
        "kernel_size": 3,
        "group_channels": 8,
        "reduction": 2,
    },
    {"involution_stages": []},
    {"involution_stages": [3, 4]},
    {"involution_stages": [2], "kernel_size": 5},
    {"involution_stages": [1, 4], "generator": "linear", "stem": "conv7"},
    {"layers": [2, 1, 1, 3]},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("width", [1.0, 0.25, 0.5, 2.0])
def test_every_option_that_shapes_a_tensor(width, options, shapes_of):
    given = {**SMALL, **options, "width": width}
    found = infer_architecture(shapes_of("rednet50", **given))
    expected = {name: value for name, value in given.items() if (name, value) != ("width", 1.0)}
    assert found == {"name": "rednet50", "options": expected}


@pytest.mark.parametrize("width", [0.01, 0.1, 0.28, 0.3, 0.55, 0.75, 0.9, 1.1, 1.27, 1.5, 3.0])
@pytest.mark.parametrize("stem", ["involution3", "conv7"])
def test_a_width_that_gives_the_same_network(width, stem, shapes_of):
    original = shapes_of("rednet26", width=width, stem=stem)
    found = infer_architecture(original)
    rebuilt = shapes_of(found["name"], **found["options"])
    assert found["name"] == "rednet26"
    assert {k: v.shape for k, v in rebuilt.items()} == {k: v.shape for k, v in original.items()}
    assert found["options"].get("width", 1.0) in (width, pytest.approx(width, abs=0.1))


@pytest.mark.parametrize("num_classes", [0, 7])
@pytest.mark.parametrize("in_chans", [1, 3, 4])
def test_classes_and_channels_are_not_options(num_classes, in_chans, shapes_of):
    weights = shapes_of("rednet38", num_classes=num_classes, in_chans=in_chans)
    assert infer_architecture(weights) == {"name": "rednet38", "options": {}}
    assert count_classes(weights) == num_classes


def without(weights, name):
    return {key: tensor for key, tensor in weights.items() if key != name}


def reshaped(weights, name, *shape):
    assert name in weights
    return {**weights, name: torch.empty(shape, device="meta")}


SPOILERS = [
    lambda weights: without(weights, "stem.0.conv.weight"),
    lambda weights: without(weights, "layer3.0.conv1.weight"),
    lambda weights: {k: v for k, v in weights.items() if not k.startswith("layer2.0.")},
    lambda weights: {k: v for k, v in weights.items() if not k.startswith("layer4.")},
    lambda weights: reshaped(weights, "layer3.0.conv1.weight", 100, 512, 1, 1),
    lambda weights: reshaped(weights, "layer3.0.conv2.conv2.conv.weight", 400, 64, 1, 1),
    lambda weights: reshaped(weights, "layer3.0.conv2.conv2.conv.weight", 9 * 16, 64, 1, 1),
    lambda weights: reshaped(weights, "layer1.0.conv2.conv1.conv.weight", 3, 64, 1, 1),
    lambda weights: reshaped(weights, "stem.1.conv2.conv.weight", 50, 8, 1, 1),
    lambda weights: reshaped(weights, "stem.4.conv.weight", 32, 32, 3, 3),
    lambda weights: reshaped(weights, "stem.4.conv.weight"),
]


@pytest.mark.parametrize("spoil", SPOILERS)
def test_contradictory_shapes_are_no_rednet(spoil, shapes_of):
    assert infer_architecture(spoil(shapes_of("rednet26"))) is None


@pytest.mark.parametrize("name", ["resnet50", "test_resnet", "test_efficientnet", "seresnet50"])
def test_other_networks(name, shapes_of):
    assert infer_architecture(shapes_of(name)) is None


STEM = "stem involution3 rather than small"
SOFTMAX = "attention without softmax"
RELATIVE = {"relative_position": True}


@pytest.mark.parametrize(
    ("options", "guesses"),
    [
        ({}, [STEM]),
        ({"involution_stages": []}, [STEM]),
        ({"stem": "conv7", "kernel_size": 3}, []),
        ({"stem": "conv7", "kernel_size": 3, "group_channels": 144, "width": 2.25}, ["several"]),
        ({"generator": "attention", "generator_options": RELATIVE}, [STEM, SOFTMAX]),
        (
            {"generator": "attention", "kernel_size": 3},
            [STEM, SOFTMAX, "attention's kernel_size 7 and group_channels 16"],
        ),
    ],
    ids=str,
)
def test_what_is_assumed(options, guesses, shapes_of):
    weights = shapes_of("rednet26", **options)
    found = list_guesses(weights, infer_architecture(weights)["options"])
    assert len(found) == len(guesses)
    assert all(guess in line for guess, line in zip(guesses, found, strict=True))


def test_known_options_are_not_guesses(shapes_of):
    weights = shapes_of("rednet26", generator="attention")
    known = {"stem": "small", "generator_options": {"softmax": True}}
    known |= {"kernel_size": 3, "group_channels": 16}
    assert list_guesses(weights, {**infer_architecture(weights)["options"], **known}) == []
