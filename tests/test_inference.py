"""Logits and features of images and their mirror images."""

import math

import pytest
import timm
import torch
from torch import nn

from rednet.errors import InputError
from rednet.inference import compute_logits, compute_logits_and_features


class Corner(nn.Module):
    """Returns the pixels at the top left as logits, so that a mirror image has others."""

    def forward(self, images):
        return images[:, :, 0, 0]


def test_flips_average_probabilities():
    images = torch.randn(5, 3, 4, 6)
    found = compute_logits(Corner(), images, "hflip").softmax(1)
    left, right = images[:, :, 0, 0].softmax(1), images[:, :, 0, -1].softmax(1)
    torch.testing.assert_close(found, (left + right) / 2)
    assert compute_logits(Corner(), images).equal(images[:, :, 0, 0])


def test_flips_of_half_precision_are_averaged_in_float32():
    images = torch.randn(5, 3, 4, 6)
    found = compute_logits(Corner(), images.bfloat16(), "hflip")
    assert found.dtype == torch.float32
    torch.testing.assert_close(
        found, compute_logits(Corner(), images, "hflip"), atol=0.02, rtol=0.02
    )


@pytest.mark.parametrize(
    ("corners", "is_finite"),
    [([0.0, -math.inf, 1.0], True), ([0.0, math.nan, 1.0], False), ([0.0, math.inf, 1.0], False)],
)
def test_flips_hide_no_broken_logit(corners, is_finite):
    images = torch.zeros(1, 3, 2, 2)
    images[0, :, 0, 0] = torch.tensor(corners)
    probabilities = compute_logits(Corner(), images, "hflip").softmax(1)
    assert probabilities.isfinite().all() == is_finite


@pytest.mark.parametrize("tta", [None, "hflip"])
@pytest.mark.parametrize(
    "name", ["rednet26", "test_resnet", "test_vit", "test_convnext", "test_efficientnet"]
)
@torch.no_grad()
def test_the_classifier_of_the_features_gives_the_logits(name, tta, make_tiny):
    model = make_tiny() if name == "rednet26" else timm.create_model(name, num_classes=7)
    images = torch.randn(3, 3, *(model.pretrained_cfg["input_size"][1:]))
    logits, features = compute_logits_and_features(model.eval(), images, tta)
    torch.testing.assert_close(logits, compute_logits(model, images, tta))
    classify = model.get_classifier()
    assert features.shape == (3, classify.in_features)
    if tta is None:
        torch.testing.assert_close(classify(features), logits)
    else:
        both = [compute_logits_and_features(model, x)[1] for x in (images, images.flip(-1))]
        torch.testing.assert_close(features, (both[0] + both[1]) / 2)


def test_a_network_that_hides_its_features():
    with pytest.raises(InputError, match="features: Corner has no forward_features"):
        compute_logits_and_features(Corner(), torch.zeros(1, 3, 2, 2))
