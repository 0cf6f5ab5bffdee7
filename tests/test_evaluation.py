"""Evaluation against a straightforward computation over all samples at once."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rednet.data import Batch
from rednet.errors import InputError
from rednet.evaluation import evaluate
from rednet.runtime import Runtime

SAMPLES, CLASSES = 37, 7
IMAGES = torch.randn(SAMPLES, 1, 4, 4, generator=torch.Generator().manual_seed(0))
TARGETS = torch.randint(CLASSES - 1, (SAMPLES,), generator=torch.Generator().manual_seed(1))


def network():
    torch.manual_seed(2)
    return nn.Sequential(nn.Dropout(0.9), nn.Flatten(), nn.Linear(16, CLASSES))


def batches(size, unreadable=()):
    for start in range(0, SAMPLES, size):
        part = slice(start, start + size)
        indices = torch.arange(SAMPLES)[part]
        yield Batch(IMAGES[part], TARGETS[part], indices, [])
    if unreadable:
        yield Batch(torch.empty(0), TARGETS[:0], TARGETS[:0], list(unreadable))


@pytest.mark.parametrize("size", [1, 5, 36, 37])
def test_results_are_exact_at_any_batch_size(size):
    model = network()
    result = evaluate(model, batches(size), CLASSES, Runtime())
    with torch.no_grad():
        logits = model.eval()(IMAGES)
    order = logits.argsort(1, descending=True)
    hits = order.eq(TARGETS[:, None])
    assert result.samples == SAMPLES
    assert result.loss == pytest.approx(F.cross_entropy(logits, TARGETS).item(), rel=1e-6)
    assert result.top1 == pytest.approx(100 * hits[:, 0].float().mean().item())
    assert result.top5 == pytest.approx(100 * hits[:, :5].any(1).float().mean().item())
    expected = torch.zeros(CLASSES, CLASSES, dtype=torch.int64)
    for true, predicted in zip(TARGETS.tolist(), order[:, 0].tolist(), strict=True):
        expected[true, predicted] += 1
    assert torch.equal(result.confusion, expected)


def test_the_table_of_classes_adds_up():
    result = evaluate(network(), batches(8), CLASSES, Runtime())
    rows = result.per_class([f"class {index}" for index in range(CLASSES)])
    assert [row["samples"] for row in rows] == TARGETS.bincount(minlength=CLASSES).tolist()
    counted = [row for row in rows if row["samples"]]
    top1 = sum(row["top1"] * row["samples"] for row in counted) / SAMPLES
    top5 = sum(row["top5"] * row["samples"] for row in counted) / SAMPLES
    assert (top1, top5) == pytest.approx((result.top1, result.top5))
    assert rows[-1]["samples"] == 0
    assert rows[-1]["top1"] is None


def test_the_network_keeps_its_mode():
    model = network().train()
    evaluate(model, batches(8), CLASSES, Runtime())
    assert model.training


def test_unreadable_images_are_counted_named_and_leave_the_results_alone():
    lost = [(f"{number}.jpg", "truncated") for number in range(12)]
    result = evaluate(network(), batches(8, lost), CLASSES, Runtime())
    plain = evaluate(network(), batches(8), CLASSES, Runtime())
    assert (result.samples, result.loss) == (plain.samples, plain.loss)
    assert result.unreadable == lost
    with pytest.raises(InputError, match=r"12 image\(s\) cannot be read: 0.jpg .*and 2 more"):
        result.require_readable()


def test_nothing_to_evaluate_is_an_error():
    with pytest.raises(InputError, match="no image to evaluate"):
        evaluate(network(), [], CLASSES, Runtime())
