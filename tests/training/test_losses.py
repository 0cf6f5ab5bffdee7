"""The losses against torch's and timm's own."""

import pytest
import torch
import torch.nn.functional as F
from timm.loss import BinaryCrossEntropy as TimmBinaryCrossEntropy

from rednet.training.losses import BinaryCrossEntropy, CrossEntropy

CLASSES = 5
WEIGHTS = torch.tensor([0.5, 2.0, 1.0, 0.1, 3.0])


@pytest.fixture
def logits():
    return torch.randn(8, CLASSES, generator=torch.Generator().manual_seed(0)).double()


@pytest.fixture
def indices():
    return torch.tensor([0, 1, 2, 3, 4, 0, 1, 1])


def soft(indices, smoothing=0.0):
    """The targets as probabilities."""
    return F.one_hot(indices, CLASSES).double() * (1 - smoothing) + smoothing / CLASSES


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_torchs_sum(weights, smoothing, logits, indices):
    weight = None if weights is None else weights.double()
    torchs = torch.nn.CrossEntropyLoss(weight, label_smoothing=smoothing, reduction="none")
    loss = CrossEntropy(smoothing, weights)(logits, indices)
    torch.testing.assert_close(loss, torchs(logits, indices).sum())
    # Smoothing by the loss is smoothing by the targets.
    torch.testing.assert_close(loss, CrossEntropy(0.3, weights)(logits, soft(indices, smoothing)))


@pytest.mark.parametrize("threshold", [None, 0.2])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_binary_cross_entropy_is_timms_mean(threshold, smoothing, logits, indices):
    timms = TimmBinaryCrossEntropy(smoothing, threshold)
    loss = BinaryCrossEntropy(smoothing, threshold)
    torch.testing.assert_close(loss(logits, indices) / 8, timms(logits, indices))
    blended = (soft(indices, smoothing) * 0.7 + soft(indices.flip(0), smoothing) * 0.3).float()
    torch.testing.assert_close(loss(logits, blended) / 8, timms(logits, blended.double()))


def test_weights_of_binary_cross_entropy_are_those_of_samples(logits, indices):
    loss = BinaryCrossEntropy(0.1, 0.2, WEIGHTS)
    each = torch.stack(
        [BinaryCrossEntropy(0.1, 0.2)(logits[i : i + 1], indices[i : i + 1]) for i in range(8)]
    )
    torch.testing.assert_close(loss(logits, indices), each @ WEIGHTS[indices].double())
    pair = (soft(indices) * 0.75 + soft(indices.flip(0)) * 0.25).float()
    blended = torch.stack(
        [BinaryCrossEntropy(0, 0.2)(logits[i : i + 1], pair[i : i + 1]) for i in range(8)]
    )
    shares = WEIGHTS[indices] * 0.75 + WEIGHTS[indices.flip(0)] * 0.25
    torch.testing.assert_close(loss(logits, pair), blended @ shares.double())
