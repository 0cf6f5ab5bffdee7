"""Exact evaluation: loss, top-1, top-5 and the confusion matrix."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from timm.task import ClassificationEvaluator
from torch import Tensor, nn

from rednet.data import Batch
from rednet.errors import InputError
from rednet.runtime import Runtime
from rednet.wording import count

MAX_NAMED = 10


@dataclass(frozen=True)
class Evaluation:
    """Results over all samples of all processes.

    Attributes:
        loss: Mean cross-entropy.
        top1: Top-1 accuracy in percent.
        top5: Top-5 accuracy in percent.
        samples: Number of evaluated samples.
        confusion: Sample counts (classes, classes): rows are true classes, columns predictions.
        top5_correct: Sample counts (classes,) of each true class that is among the top five.
        unreadable: Name and reason for each image that could not be read.
    """

    loss: float
    top1: float
    top5: float
    samples: int
    confusion: Tensor
    top5_correct: Tensor
    unreadable: list[tuple[str, str]] = field(default_factory=list)

    def per_class(self, class_names: Sequence[str]) -> list[dict[str, Any]]:
        """Return a row for each class; top-1 and top-5 are in percent, None without samples."""
        counts = self.confusion.sum(1)
        mistakes = self.confusion.clone().fill_diagonal_(0)
        rows = []
        for index, name in enumerate(class_names):
            samples = int(counts[index])
            worst = int(mistakes[index].argmax())
            rows.append(
                {
                    "class": name,
                    "samples": samples,
                    "top1": 100 * int(self.confusion[index, index]) / samples if samples else None,
                    "top5": 100 * int(self.top5_correct[index]) / samples if samples else None,
                    "most_mistaken_for": class_names[worst] if mistakes[index, worst] else None,
                }
            )
        return rows

    def confusions(self, class_names: Sequence[str]) -> list[dict[str, Any]]:
        """Return a row for each pair of classes that were confused, most frequent first.

        The share is the percentage of the true class's samples.
        """
        totals = self.confusion.sum(1)
        mistakes = self.confusion.clone().fill_diagonal_(0)
        pairs = mistakes.nonzero()
        counts = mistakes[mistakes > 0]
        shares = 100 * counts.double() / totals[pairs[:, 0]]
        rows = [
            {
                "true": class_names[true],
                "predicted": class_names[predicted],
                "count": count,
                "share": share,
            }
            for (true, predicted), count, share in zip(
                pairs.tolist(), counts.tolist(), shares.tolist(), strict=True
            )
        ]
        return sorted(rows, key=lambda row: (-row["count"], -row["share"]))

    def require_readable(self) -> None:
        """Raise an error if any image could not be read.

        Raises:
            InputError: Images could not be read; the message names them.
        """
        if self.unreadable:
            raise InputError(
                f"{describe_unreadable(self.unreadable)}; fix or remove them, or skip them with "
                "data.on_unreadable=skip"
            )


def describe_unreadable(unreadable: list[tuple[str, str]]) -> str:
    """Return a line that counts the unreadable images and names the first ones."""
    named = "; ".join(f"{name} ({reason})" for name, reason in unreadable[:MAX_NAMED])
    more = len(unreadable) - MAX_NAMED
    rest = f"; and {more} more" if more > 0 else ""
    return f"{count(len(unreadable), 'image')} cannot be read: {named}{rest}"


class _RunningCounts:
    """Counts over batches, kept on the device so that no batch waits for the host."""

    def __init__(self, num_classes: int, device: torch.device) -> None:
        self.scores = ClassificationEvaluator(device)
        self.confusion = torch.zeros(num_classes, num_classes, dtype=torch.int64, device=device)
        self.top5_correct = torch.zeros(num_classes, dtype=torch.int64, device=device)

    def add(self, logits: Tensor, targets: Tensor) -> None:
        self.scores.update(logits, targets)
        classes = self.confusion.shape[0]
        predictions = logits.topk(min(5, classes), dim=1).indices
        cells = targets * classes + predictions[:, 0]
        self.confusion.view(-1).scatter_add_(0, cells, torch.ones_like(targets))
        in_top5 = predictions.eq(targets[:, None]).any(1)
        self.top5_correct.scatter_add_(0, targets, in_top5.long())


@torch.no_grad()
def evaluate(
    model: nn.Module,
    batches: Iterable[Batch],
    num_classes: int,
    runtime: Runtime,
    progress: Any = None,
) -> Evaluation:
    """Evaluate a network; each process passes its batches and gets the results of all processes.

    Args:
        model: Network that returns logits (n, num_classes). Its training mode is restored.
        batches: Batches of this process.
        num_classes: Number of classes.
        runtime: Device, precision and processes.
        progress: Object whose `advance(images)` is called after each batch, or None.

    Raises:
        InputError: No image could be read.
    """
    training = model.training
    counts = _RunningCounts(num_classes, runtime.device)
    unreadable: list[tuple[str, str]] = []
    model.eval()
    for batch in batches:
        unreadable += batch.unreadable
        if len(batch.targets):
            with runtime.autocast():
                logits = model(runtime.place_images(batch.images))
            counts.add(logits, batch.targets.to(runtime.device))
        if progress is not None:
            progress.advance(len(batch.targets) * runtime.world_size)
    model.train(training)
    return _collect(counts, unreadable, runtime)


def _collect(
    counts: _RunningCounts, unreadable: list[tuple[str, str]], runtime: Runtime
) -> Evaluation:
    unreadable = [image for images in runtime.gather(unreadable) for image in images]
    scores = counts.scores.compute(distributed=runtime.world_size > 1)
    confusion = runtime.sum(counts.confusion).cpu()
    samples = int(confusion.sum())
    if samples == 0:
        raise InputError(describe_unreadable(unreadable) if unreadable else "no image to evaluate")
    return Evaluation(
        loss=scores["loss"],
        top1=scores["top1"],
        top5=scores["top5"],
        samples=samples,
        confusion=confusion,
        top5_correct=runtime.sum(counts.top5_correct).cpu(),
        unreadable=unreadable,
    )
