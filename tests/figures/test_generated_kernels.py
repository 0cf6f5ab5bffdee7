"""The involutions of a network and their generated kernels."""

import pytest
import torch

from rednet.errors import InputError
from rednet.figures.generated_kernels import find_involutions, observe_kernels, select_involutions
from rednet.layers import Involution2d

BLOCKS = ["layer1.0", "layer2.0", "layer2.1", "layer3.0", "layer4.0"]


def test_involutions_are_named_after_their_blocks(make_tiny):
    assert list(find_involutions(make_tiny())) == ["stem", *BLOCKS]
    assert list(find_involutions(make_tiny(stem="conv7", involution_stages=(2, 4)))) == [
        "layer2.0",
        "layer2.1",
        "layer4.0",
    ]


def test_the_default_is_the_last_involution_of_each_stage(make_tiny):
    model = make_tiny()
    assert list(select_involutions(model, None)) == ["layer1.0", "layer2.1", "layer3.0", "layer4.0"]
    assert list(select_involutions(make_tiny(involution_stages=()), None)) == ["stem"]
    selected = select_involutions(model, ["stem", "layer2.0"])
    assert selected == {"stem": model.stem[1], "layer2.0": model.layer2[0].conv2}


def test_layers_without_involution_are_refused(make_tiny):
    with pytest.raises(InputError) as caught:
        select_involutions(make_tiny(), ["layer2.2"])
    assert str(caught.value) == (
        f"layers: 'layer2.2' has no involution; these have: stem, {', '.join(BLOCKS)}"
    )
    with pytest.raises(InputError, match="this network has no involution"):
        select_involutions(make_tiny(stem="conv7", involution_stages=()), None)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"generator": "attention", "generator_options": {"softmax": True}},
        {"group_channels": "layer"},
    ],
)
def test_observed_kernels_produce_the_layers_output(options, make_tiny, make_images):
    model, images = make_tiny(**options), make_images()
    calls = {}
    for layer in find_involutions(model).values():
        layer.register_forward_hook(lambda layer, x, y: calls.update({layer: (x[0], y)}))
    observed = observe_kernels(model, images.batches(), find_involutions(model), torch.clone)
    for name, layer in find_involutions(model).items():
        (kernels,) = observed[name]
        size = layer.window.kernel_size
        assert kernels.shape[:4] == (3, layer.groups, size, size)
        x, y = calls[layer]
        torch.testing.assert_close(layer.apply_kernel(x, kernels.flatten(1, 3)), y)


def test_observation_does_not_change_the_network(make_tiny, make_images):
    model, images = make_tiny(), make_images()
    before = model(images.inputs)
    observe_kernels(model, images.batches(), find_involutions(model), torch.clone)
    torch.testing.assert_close(model(images.inputs), before, rtol=0, atol=0)
    assert not any(layer._forward_pre_hooks for layer in find_involutions(model).values())


def test_kernels_that_are_not_finite_are_refused(make_tiny, make_images):
    model = make_tiny()
    model.layer3[0].conv2.conv2.conv.bias.data[3] = torch.inf
    with pytest.raises(InputError, match=r"layer3\.0 generates kernels that are not finite"):
        observe_kernels(model, make_images().batches(), find_involutions(model), torch.clone)
    assert not any(layer._forward_pre_hooks for layer in find_involutions(model).values())


def test_a_network_other_than_rednet(make_images):
    model = torch.nn.Sequential(Involution2d(3, 3, group_channels=1)).eval()
    observed = observe_kernels(model, make_images().batches(), find_involutions(model), torch.sum)
    assert list(observed) == ["0"]
