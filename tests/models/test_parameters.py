"""Parameter counts, and the original's names and shapes."""

import pytest
import timm
import torch

RELEASED = {26: 9233166, 38: 12386986, 50: 15540806, 101: 25652950, 152: 33984582}
PUBLISHED = {26: 9233886, 38: 12387706, 50: 15541526, 101: 25653670, 152: 33985302}
TENSORS = {26: 251, 38: 351, 50: 451, 101: 876, 152: 1301}
BLOCKS = {
    26: (1, 2, 4, 1),
    38: (2, 3, 5, 2),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
# Parameters of ResNet, from torchvision's documentation.
RESNET_50 = 25557032


def on_meta(depth, **options):
    with torch.device("meta"):
        return timm.create_model(f"rednet{depth}", **options)


def count(model):
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


@pytest.mark.parametrize("depth", BLOCKS)
def test_exact_parameter_counts(depth):
    assert count(on_meta(depth)) == RELEASED[depth]
    assert count(on_meta(depth, stem="involution7")) == PUBLISHED[depth]


@pytest.mark.parametrize(
    ("options", "millions"),
    [
        ({"kernel_size": 3}, 14.7),
        ({"kernel_size": 5}, 15.1),
        ({}, 15.5),
        ({"kernel_size": 9}, 16.2),
        ({"group_channels": 4}, 18.5),
        ({"group_channels": "layer"}, 14.6),
        ({"generator": "linear"}, 18.1),
        ({"reduction": 1}, 19.4),
        ({"reduction": 16}, 14.6),
    ],
)
def test_the_papers_ablations(options, millions):
    assert round(count(on_meta(50, stem="conv7", **options)) / 1e6, 1) == millions


def test_the_ablation_with_a_kernel_for_each_channel():
    """The paper prints 30.2 M; the released code has 30.145 M."""
    assert round(count(on_meta(50, stem="conv7", group_channels=1)) / 1e6, 3) == 30.145


def test_without_involution_it_is_a_resnet():
    assert count(on_meta(50, stem="conv7", involution_stages=[])) == RESNET_50


def norm(name, channels):
    vectors = ("weight", "bias", "running_mean", "running_var")
    return {
        **{f"{name}.{key}": (channels,) for key in vectors},
        f"{name}.num_batches_tracked": (),
    }


def stem(area):
    return {
        "stem.0.conv.weight": (32, 3, 3, 3),
        **norm("stem.0.bn", 32),
        "stem.1.conv1.conv.weight": (8, 32, 1, 1),
        **norm("stem.1.conv1.bn", 8),
        "stem.1.conv2.conv.weight": (2 * area, 8, 1, 1),
        "stem.1.conv2.conv.bias": (2 * area,),
        **norm("stem.2", 32),
        "stem.4.conv.weight": (64, 32, 3, 3),
        **norm("stem.4.bn", 64),
    }


def block(name, inputs, width):
    narrow, kernels = width // 4, 49 * width // 16
    return {
        f"{name}.conv1.weight": (width, inputs, 1, 1),
        **norm(f"{name}.bn1", width),
        f"{name}.conv2.conv1.conv.weight": (narrow, width, 1, 1),
        **norm(f"{name}.conv2.conv1.bn", narrow),
        f"{name}.conv2.conv2.conv.weight": (kernels, narrow, 1, 1),
        f"{name}.conv2.conv2.conv.bias": (kernels,),
        **norm(f"{name}.bn2", width),
        f"{name}.conv3.weight": (4 * width, width, 1, 1),
        **norm(f"{name}.bn3", 4 * width),
    }


def shortcut(name, inputs, width):
    return {
        f"{name}.downsample.0.weight": (4 * width, inputs, 1, 1),
        **norm(f"{name}.downsample.1", 4 * width),
    }


def original(depth, stem_area=9):
    """Return names and shapes of the original's tensors, from its table of checkpoint keys."""
    tensors, inputs = stem(stem_area), 64
    for stage, blocks in enumerate(BLOCKS[depth]):
        width = 64 * 2**stage
        tensors |= shortcut(f"layer{stage + 1}.0", inputs, width)
        for number in range(blocks):
            tensors |= block(f"layer{stage + 1}.{number}", inputs, width)
            inputs = 4 * width
    return tensors | {"fc.weight": (1000, 2048), "fc.bias": (1000,)}


@pytest.mark.parametrize("depth", BLOCKS)
def test_names_and_shapes_are_the_originals(depth):
    tensors = {name: tuple(t.shape) for name, t in on_meta(depth).state_dict().items()}
    assert tensors == original(depth)
    assert len(tensors) == TENSORS[depth]


def test_the_other_stem_differs_in_one_layer():
    model = on_meta(26, stem="involution7")
    assert {k: tuple(t.shape) for k, t in model.state_dict().items()} == original(26, 49)


def test_the_classifier_is_registered_last():
    """timm's adaptive clipping excludes the last two parameters as the head."""
    assert [name for name, _ in on_meta(26).named_parameters()][-2:] == ["fc.weight", "fc.bias"]


def test_the_registered_settings():
    cfg = on_meta(50).pretrained_cfg
    assert cfg["input_size"] == (3, 224, 224)
    assert (cfg["crop_pct"], cfg["interpolation"]) == (0.875, "bilinear")
    assert cfg["mean"] == (0.485, 0.456, 0.406)
    assert cfg["std"] == (0.229, 0.224, 0.225)
    assert (cfg["first_conv"], cfg["classifier"]) == ("stem.0.conv", "fc")


def test_no_pretrained_weights_are_registered():
    with pytest.raises(RuntimeError, match="No pretrained weights"):
        timm.create_model("rednet26", pretrained=True)
