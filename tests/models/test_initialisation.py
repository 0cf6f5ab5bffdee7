"""A new network is initialised as the original."""

import math

import pytest
import timm
import torch
from torch import nn

from rednet import Involution2d


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return timm.create_model("rednet26")


def test_convolutions_are_kaiming_normal_over_the_fan_out(model):
    for name, conv in model.named_modules():
        if not isinstance(conv, nn.Conv2d):
            continue
        expected = math.sqrt(2 / (conv.out_channels * conv.kernel_size[0] ** 2))
        samples = conv.weight.numel()
        assert conv.weight.std().item() == pytest.approx(expected, rel=4 / samples**0.5), name
        assert abs(conv.weight.mean().item()) < 4 * expected / samples**0.5, name
        assert conv.weight.abs().max() > 2.2 * expected, f"{name} is not normal"


def test_only_the_kernels_have_a_bias_and_it_is_zero(model):
    biased = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.bias is not None]
    involutions = [m for m in model.modules() if isinstance(m, Involution2d)]
    assert biased == [involution.conv2.conv for involution in involutions]
    assert len(involutions) == 1 + 8
    assert all(conv.bias.abs().max() == 0 for conv in biased)


def test_normalisations_are_the_identity_but_the_last_of_a_block(model):
    norms = {n: m for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)}
    assert len(norms) == 4 + 8 * 4 + 4
    for name, norm in norms.items():
        assert norm.weight.unique().tolist() == [0.0 if name.endswith("bn3") else 1.0], name
        assert norm.bias.abs().max() == 0
        assert (norm.eps, norm.momentum) == (1e-5, 0.1)


def test_every_block_starts_as_its_shortcut(model):
    x = torch.randn(2, 512, 6, 6)
    block = model.layer2[1].train()
    torch.testing.assert_close(block(x), torch.relu(x))


def test_the_classifier(model):
    assert model.fc.weight.std().item() == pytest.approx(0.01, rel=0.01)
    assert abs(model.fc.weight.mean().item()) < 1e-4
    assert model.fc.bias.abs().max() == 0


def test_a_new_classifier_is_initialised_the_same_way():
    model = timm.create_model("rednet26", width=0.25)
    model.reset_classifier(100)
    assert model.fc.weight.std().item() == pytest.approx(0.01, rel=0.03)
    assert model.fc.bias.abs().max() == 0


def test_the_seed_determines_the_weights():
    weights = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        weights.append(timm.create_model("rednet26", width=0.25).state_dict())
    first, again, other = weights
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["stem.0.conv.weight"], other["stem.0.conv.weight"])


def test_a_new_network_has_small_outputs(model):
    """Blocks start as their shortcuts and the classifier's weights are small."""
    with torch.no_grad():
        logits = model.train()(torch.randn(4, 3, 64, 64))
    assert logits.isfinite().all()
    assert logits.std() < 1


@pytest.mark.parametrize(
    "norm_layer", [nn.Identity, nn.InstanceNorm2d, "groupnorm1", "layernorm2d", "frozenbatchnorm2d"]
)
def test_other_normalisations_are_initialised(norm_layer):
    model = timm.create_model("rednet26", width=0.25, norm_layer=norm_layer)
    weight = getattr(model.layer1[0].bn3, "weight", None)
    assert weight is None or weight.abs().max() == 0
