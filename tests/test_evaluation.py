"""Evaluation against a plain computation in Python."""

import math

import pytest
import torch
from torch import nn

from rednet.counting import Counting
from rednet.data import (
    Batch,
    EvalSampler,
    ImageDataset,
    ImageLoader,
    Preprocessing,
    balanced_subset,
    eval_transform,
    open_fashion_mnist,
)
from rednet.errors import InputError
from rednet.evaluation import Evaluation, describe_unreadable, evaluate
from rednet.runtime import Runtime


class Lookup(nn.Module):
    """Returns row i of a table as the logits of an image that is filled with the number i."""

    def __init__(self, table):
        super().__init__()
        self.table = nn.Parameter(table)

    def forward(self, images):
        return self.table[images[:, 0, 0, 0].long()]


def logits_and_targets(samples, classes):
    generator = torch.Generator().manual_seed(classes)
    logits = 3 * torch.randn(samples, classes, generator=generator)
    return logits, torch.randint(classes, (samples,), generator=generator)


def batches_of(targets, batch_size, unreadable=()):
    """Yield batches in which image i is filled with the number i; some images are unreadable."""
    for part in torch.arange(len(targets)).split(batch_size):
        kept = torch.tensor([i for i in part.tolist() if i not in unreadable], dtype=torch.int64)
        missing = [(f"{i}.png", "broken") for i in part.tolist() if i in unreadable]
        images = kept.float().view(-1, 1, 1, 1).expand(-1, 3, 2, 2) if len(kept) else torch.empty(0)
        yield Batch(images, targets[kept], kept, missing)


def evaluate_plainly(logits, targets):
    """Return loss, top-1 and top-5 in percent and the confusion matrix, one sample at a time."""
    classes = logits.shape[1]
    losses, first, five, confusion = [], 0, 0, [[0] * classes for _ in range(classes)]
    for row, target in zip(logits.double().tolist(), targets.tolist(), strict=True):
        losses.append(math.log(sum(math.exp(value) for value in row)) - row[target])
        ranked = sorted(range(classes), key=lambda index: -row[index])
        first += ranked[0] == target
        five += target in ranked[:5]
        confusion[target][ranked[0]] += 1
    count = len(losses)
    return sum(losses) / count, 100 * first / count, 100 * five / count, confusion


@pytest.mark.parametrize("classes", [2, 5, 7, 40])
@pytest.mark.parametrize("batch_size", [1, 4, 100])
@pytest.mark.parametrize("unreadable", [(), (0, 8, 9, 10, 11, 52)])
def test_evaluation_is_exact(classes, batch_size, unreadable):
    logits, targets = logits_and_targets(53, classes)
    batches = batches_of(targets, batch_size, unreadable)
    result = evaluate(Lookup(logits), batches, classes, Runtime())
    kept = [index for index in range(53) if index not in unreadable]
    loss, top1, top5, confusion = evaluate_plainly(logits[kept], targets[kept])
    assert result.loss == pytest.approx(loss, rel=1e-6)
    assert result.top1 == pytest.approx(top1, rel=1e-12)
    assert result.top5 == (pytest.approx(top5, rel=1e-12) if classes > 5 else None)
    assert result.confusion.tolist() == confusion
    assert result.samples == len(kept)
    assert result.unreadable == [(f"{index}.png", "broken") for index in unreadable]
    assert 100 * int(result.top5_correct.sum()) / len(kept) == pytest.approx(top5)


@pytest.mark.parametrize(("batch_size", "num_workers"), [(1, 0), (3, 2), (64, 1)])
def test_batch_size_and_workers_make_no_difference(batch_size, num_workers):
    source = balanced_subset(open_fashion_mnist().val, 23)
    transform = eval_transform(Preprocessing(28, 1.0, "bilinear", (0.286,), (0.353,)))
    dataset = ImageDataset(source, transform)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 5, stride=3), nn.BatchNorm2d(4), nn.Flatten())
    model = nn.Sequential(model, nn.Linear(4 * 8 * 8, 10)).eval()
    loader = ImageLoader(dataset, EvalSampler(23, batch_size), num_workers=num_workers)
    result = evaluate(model, loader, 10, Runtime())
    images = torch.stack([transform(source.load(index)) for index in range(23)])
    with torch.no_grad():
        loss, top1, top5, confusion = evaluate_plainly(model(images), torch.tensor(source.targets))
    assert result.loss == pytest.approx(loss, rel=1e-5)
    assert (result.top1, result.top5) == pytest.approx((top1, top5))
    assert result.confusion.tolist() == confusion


def test_the_network_does_not_change():
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 2))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    targets = torch.tensor([0, 1, 1])
    for training in (True, False):
        model.train(training)
        evaluate(model, batches_of(targets, 2), 2, Runtime())
        assert all(module.training == training for module in model.modules())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_precision_and_memory_format_of_the_runtime():
    is_channels_last = []

    class Recorder(Lookup):
        def forward(self, images):
            is_channels_last.append(images.is_contiguous(memory_format=torch.channels_last))
            return super().forward(images) @ torch.eye(3)

    logits, targets = logits_and_targets(20, 3)
    result = evaluate(Recorder(logits), batches_of(targets, 8), 3, Runtime(precision="bf16"))
    assert result.loss == pytest.approx(evaluate_plainly(logits, targets)[0], rel=0.02)
    assert is_channels_last == [True, True, True]


def test_nan_logits_give_a_nan_loss():
    logits, targets = logits_and_targets(8, 3)
    logits[3] = float("nan")
    result = evaluate(Lookup(logits), batches_of(targets, 4), 3, Runtime())
    assert math.isnan(result.loss)
    with pytest.raises(InputError, match="the logits of 1 of 8 images are not finite"):
        result.require_finite()


@pytest.mark.parametrize(
    ("row", "target", "nonfinite"),
    [
        ([0.0, math.inf, 0.0], 0, 1),
        ([0.0, math.inf, 0.0], 1, 1),
        ([0.0, -math.inf, 0.0], 0, 0),  # a class that the network rules out
        ([0.0, -math.inf, 0.0], 1, 1),
        ([1e38, -1e38, 0.0], 0, 0),
        ([-math.inf] * 3, 0, 1),
    ],
)
def test_infinite_logits_are_counted_where_the_loss_is_not_finite(row, target, nonfinite):
    logits, targets = logits_and_targets(5, 3)
    logits[2], targets[2] = torch.tensor(row), target
    result = evaluate(Lookup(logits), batches_of(targets, 2), 3, Runtime())
    assert (result.nonfinite, math.isfinite(result.loss)) == (nonfinite, not nonfinite)


def test_progress_counts_images():
    class Progress:
        def __init__(self):
            self.seen = []

        def advance(self, images):
            self.seen.append(images)

    progress = Progress()
    logits, targets = logits_and_targets(10, 3)
    evaluate(Lookup(logits), batches_of(targets, 4, {1}), 3, Runtime(), progress)
    assert progress.seen == [3, 4, 2]


@pytest.mark.parametrize(
    ("unreadable", "message"),
    [(range(4), r"4 images cannot be read: 0.png \(broken\); 1.png"), ((), "no image to")],
)
def test_no_readable_image_is_an_input_error(unreadable, message):
    logits, targets = logits_and_targets(4, 3)
    batches = batches_of(targets, 2, unreadable) if unreadable else []
    with pytest.raises(InputError, match=message):
        evaluate(Lookup(logits), batches, 3, Runtime())


def test_per_class_has_a_row_for_each_class():
    confusion = torch.tensor([[2, 1, 1, 0], [0, 0, 0, 0], [1, 0, 4, 0], [0, 0, 1, 0]])
    result = Evaluation(0.0, 0.0, 90.0, 10, confusion, torch.tensor([3, 0, 5, 1]))
    cat, dog, eel, fox = result.per_class(["cat", "dog", "eel", "fox"])
    assert cat == {
        **{"class": "cat", "samples": 4, "top1": 50, "top5": 75},
        **{"precision": pytest.approx(200 / 3), "recall": 50, "f1": pytest.approx(400 / 7)},
        "most_mistaken_for": "dog",
    }
    assert dog == {  # no samples, and one wrong prediction
        **{"class": "dog", "samples": 0, "top1": None, "top5": None},
        **{"precision": 0, "recall": None, "f1": 0, "most_mistaken_for": None},
    }
    assert eel["f1"] == pytest.approx(2 / (1 / eel["precision"] + 1 / eel["recall"]))
    assert fox == {  # never predicted
        **{"class": "fox", "samples": 1, "top1": 0, "top5": 100},
        **{"precision": None, "recall": 0, "f1": 0, "most_mistaken_for": "eel"},
    }


@pytest.mark.parametrize("classes", [2, 5, 6])
def test_top5_of_five_classes_is_left_out(classes):
    logits, targets = logits_and_targets(12, classes)
    result = evaluate(Lookup(logits), batches_of(targets, 4), classes, Runtime())
    has_top5 = classes > 5
    assert ("top-5" in result.summary(), result.top5 is not None) == (has_top5, has_top5)
    (first, *_) = result.per_class([f"class {index}" for index in range(classes)])
    assert ("top5" in first) == has_top5


def test_confusions_are_sorted_by_count_and_share():
    confusion = torch.tensor([[2, 1, 1], [0, 0, 1], [3, 0, 4]])
    result = Evaluation(0.0, 0.0, 0.0, 12, confusion, torch.zeros(3))
    rows = result.confusions(["cat", "dog", "eel"])
    assert [tuple(row.values()) for row in rows] == [
        ("eel", "cat", 3, 100 * 3 / 7),
        ("dog", "eel", 1, 100),
        ("cat", "dog", 1, 25),
        ("cat", "eel", 1, 25),
    ]
    assert list(rows[0]) == ["true", "predicted", "count", "share"]
    perfect = Evaluation(0.0, 0.0, 0.0, 3, torch.eye(3).long(), torch.zeros(3))
    assert perfect.confusions(["cat", "dog", "eel"]) == []


def test_many_unreadable_images_are_counted_and_some_named():
    line = describe_unreadable([(f"{index}.png", "broken") for index in range(13)])
    assert line.startswith("13 images cannot be read: 0.png (broken); ")
    assert line.endswith("9.png (broken); and 3 more")
    assert "10.png" not in line
    assert "\n" not in line


def test_require_readable_raises_for_unreadable_images():
    result = Evaluation(0.0, 0.0, 0.0, 1, torch.eye(1), torch.ones(1), [("a.png", "broken")])
    with pytest.raises(InputError, match=r"1 image cannot be read: a.png \(broken\)"):
        result.require_readable()
    Evaluation(0.0, 0.0, 0.0, 1, torch.eye(1), torch.ones(1)).require_readable()


def test_a_part_of_the_outputs_competes():
    logits, _ = logits_and_targets(53, 40)
    outputs = torch.tensor([30, 2, 3, 17, 8, 25, 39])
    _, targets = logits_and_targets(53, 7)
    batches = batches_of(targets, 9, unreadable=(3,))
    result = evaluate(Lookup(logits), batches, 7, Runtime(), counting=Counting(outputs=outputs))
    kept = [index for index in range(53) if index != 3]
    loss, top1, top5, confusion = evaluate_plainly(logits[kept][:, outputs], targets[kept])
    assert (result.loss, result.top1, result.top5) == pytest.approx((loss, top1, top5))
    assert result.confusion.tolist() == confusion


@pytest.mark.parametrize("rounded", [False, True])  # with equal logits
def test_any_of_several_labels_is_right(rounded):
    logits, targets = logits_and_targets(53, 12)
    if rounded:
        logits = logits.round()
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(-1, 12, (53, 4), generator=generator)
    labels[:, 2] = targets
    batches = batches_of(targets, 9, unreadable=(3,))
    result = evaluate(Lookup(logits), batches, 12, Runtime(), counting=Counting(labels=labels))
    first = five = loss = 0
    kept = [index for index in range(53) if index != 3]
    for index in kept:
        right = {label for label in labels[index].tolist() if label >= 0}
        top = logits[index : index + 1].topk(5).indices[0].tolist()
        first += top[0] in right
        five += bool(right & set(top))
        loss -= max(logits[index].double().log_softmax(0)[label].item() for label in right)
    assert result.top1 == pytest.approx(100 * first / 52)
    assert result.top5 == pytest.approx(100 * five / 52)
    assert result.loss == pytest.approx(loss / 52)
    assert int(result.confusion.diag().sum()) == first
    assert result.samples == 52
