"""Without involution the network is a ResNet, equal to timm's."""

import pytest
import timm
import torch

LAYERS = (2, 2, 2, 2)


def under_our_names(state_dict):
    stem = {"conv1.weight": "stem.0.conv.weight"}
    stem |= {key: f"stem.0.bn.{key[4:]}" for key in state_dict if key.startswith("bn1.")}
    return {stem.get(key, key): tensor for key, tensor in state_dict.items()}


@pytest.fixture(scope="module", params=[32, 16, 8])
def resnets(request):
    """Our ResNet and timm's with the same weights, changed from their initial values."""
    options = {"num_classes": 5, "output_stride": request.param}
    theirs = timm.create_model("resnet26", **options)
    for name, parameter in theirs.named_parameters():
        if "bn" in name:
            torch.nn.init.uniform_(parameter, 0.5, 1.0)
    ours = timm.create_model(
        "rednet50", layers=LAYERS, stem="conv7", involution_stages=[], **options
    )
    ours.load_state_dict(under_our_names(theirs.state_dict()))
    return ours, theirs


@pytest.mark.parametrize("size", [(64, 64), (65, 49)])
def test_the_same_values(resnets, size):
    ours, theirs = (model.eval() for model in resnets)
    images = torch.randn(2, 3, *size)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images))


def test_the_same_gradients(resnets):
    ours, theirs = (model.train() for model in resnets)
    images = torch.randn(2, 3, 64, 64)
    for model in resnets:
        model.zero_grad()
        model(images).square().sum().backward()
    expected = under_our_names({name: p.grad for name, p in theirs.named_parameters()})
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-3, atol=1e-3)
