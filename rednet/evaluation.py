"""Exact evaluation: loss, top-1, top-5 and the confusion matrix."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from timm.task import ClassificationEvaluator
from torch import Tensor, nn

from rednet.counting import ALL, TOP, Counting
from rednet.data import Batch
from rednet.errors import InputError
from rednet.inference import Augmentation, compute_logits
from rednet.runtime import Runtime
from rednet.wording import count

MAX_NAMED = 10


class LoadingError(InputError):
    """There are no images to evaluate; all processes know it."""


@dataclass(frozen=True)
class Evaluation:
    """Results over all samples of all processes.

    Attributes:
        loss: Mean cross-entropy.
        top1: Top-1 accuracy in percent.
        top5: Top-5 accuracy in percent; None with five classes or fewer, where it is always 100.
        samples: Number of evaluated samples.
        confusion: Sample counts (classes, classes): rows are true classes, columns predictions.
        top5_correct: Sample counts (classes,) of each true class that is among the top five.
        unreadable: Name and reason for each image that could not be read.
        nonfinite: Number of samples whose logits give no finite loss.
    """

    loss: float
    top1: float
    top5: float | None
    samples: int
    confusion: Tensor
    top5_correct: Tensor
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    nonfinite: int = 0

    def summary(self) -> str:
        """Return the scores as text for the screen."""
        top5 = "" if self.top5 is None else f"top-5 {self.top5:.2f} %, "
        return f"top-1 {self.top1:.2f} %, {top5}loss {self.loss:.4f}"

    def per_class(self, class_names: Sequence[str]) -> list[dict[str, Any]]:
        """Return a row for each class; its scores are in percent, None where they are undefined.

        The recall of a class is its top-1 accuracy: the share of its samples that are recognised.
        """
        samples, predicted = self.confusion.sum(1).tolist(), self.confusion.sum(0).tolist()
        correct, top5_correct = self.confusion.diagonal().tolist(), self.top5_correct.tolist()
        mistakes = self.confusion.clone().fill_diagonal_(0)
        most, worst = (values.tolist() for values in mistakes.max(1))
        return [
            {
                "class": name,
                "samples": samples[index],
                "top1": _percent(correct[index], samples[index]),
                **self._if_top5(_percent(top5_correct[index], samples[index])),
                "precision": _percent(correct[index], predicted[index]),
                "recall": _percent(correct[index], samples[index]),
                "f1": _percent(2 * correct[index], samples[index] + predicted[index]),
                "most_mistaken_for": class_names[worst[index]] if most[index] else None,
            }
            for index, name in enumerate(class_names)
        ]

    def _if_top5(self, value: float | None) -> dict[str, float | None]:
        return {} if self.top5 is None else {"top5": value}

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

    def require_finite(self) -> None:
        """Raise an error if a sample has no finite loss; the scores then mean nothing.

        Raises:
            InputError: Logits are not finite.
        """
        if self.nonfinite:
            raise InputError(self.explain_nonfinite())

    def explain_nonfinite(self) -> str:
        """Return a line about samples without a finite loss."""
        return (
            f"the logits of {self.nonfinite} of {count(self.samples, 'image')} are not finite: the "
            "network has diverged, its weights are damaged, or trainer.precision is too low"
        )

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


def _percent(part: int, total: int) -> float | None:
    return 100 * part / total if total else None


def describe_unreadable(unreadable: list[tuple[str, str]]) -> str:
    """Return a line that counts the unreadable images and names the first ones."""
    named = "; ".join(f"{name} ({reason})" for name, reason in unreadable[:MAX_NAMED])
    more = len(unreadable) - MAX_NAMED
    rest = f"; and {more} more" if more > 0 else ""
    return f"{count(len(unreadable), 'image')} cannot be read: {named}{rest}"


class Observer(Protocol):
    """Looks at the logits during an evaluation; both methods may exchange data over processes."""

    def add(self, batch: Batch, logits: Tensor) -> None:
        """Take a batch of this process and its logits (n, classes), of the classes that count."""

    def finish(self) -> None:
        """Note that this process has no further batch."""


class _RunningCounts:
    """Counts over batches, kept on the device so that no batch waits for the host."""

    def __init__(self, num_classes: int, device: torch.device) -> None:
        self.scores = ClassificationEvaluator(device)
        self.confusion = torch.zeros(num_classes, num_classes, dtype=torch.int64, device=device)
        self.top5_correct = torch.zeros(num_classes, dtype=torch.int64, device=device)
        self.nonfinite = torch.zeros((), dtype=torch.int64, device=device)

    def add(self, logits: Tensor, targets: Tensor) -> None:
        self.scores.update(logits, targets)
        losses = F.cross_entropy(logits, targets, reduction="none")
        self.nonfinite += losses.isfinite().logical_not().sum()
        classes = self.confusion.shape[0]
        predictions = logits.topk(min(TOP, classes), dim=1).indices
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
    observer: Observer | None = None,
    tta: Augmentation | None = None,
    counting: Counting = ALL,
) -> Evaluation:
    """Evaluate a network; each process passes its batches and gets the results of all processes.

    Args:
        model: Network that returns logits (n, outputs). Its training mode is restored.
        batches: Batches of this process.
        num_classes: Number of classes, which are all outputs or those of `counting`.
        runtime: Device, precision and processes.
        progress: Object whose `advance(images)` is called after each batch, or None.
        observer: Object that is given each batch and its logits, or None.
        tta: Test-time augmentation, see `rednet.inference`.
        counting: Which outputs compete, and which labels are right.

    Raises:
        LoadingError: No image could be read, or the loader of any process has given up.
    """
    training = model.training
    counts = _RunningCounts(num_classes, runtime.device)
    unreadable: list[tuple[str, str]] = []
    failure = ""
    model.eval()
    for batch in batches:
        unreadable += batch.unreadable
        failure = batch.failure
        logits = torch.empty(0, num_classes)
        if len(batch.targets):
            with runtime.autocast():
                images = runtime.place_images(batch.images, batch.normalization)
                logits = compute_logits(model, images, tta)
            logits = counting.select(logits).float()
            targets = batch.targets.to(runtime.device)
            counts.add(logits, counting.targets(logits, targets, batch.indices))
        if observer is not None:
            observer.add(batch, logits)
        if progress is not None:
            progress.advance(len(batch.targets) * runtime.world_size)
    model.train(training)
    if observer is not None:
        observer.finish()
    if failures := [text for text in runtime.gather(failure) if text]:
        raise LoadingError(failures[0])
    return _collect(counts, unreadable, runtime)


def _collect(
    counts: _RunningCounts, unreadable: list[tuple[str, str]], runtime: Runtime
) -> Evaluation:
    unreadable = [image for images in runtime.gather(unreadable) for image in images]
    scores = counts.scores.compute(distributed=runtime.world_size > 1)
    confusion = runtime.sum(counts.confusion).cpu()
    samples = int(confusion.sum())
    if samples == 0:
        none = describe_unreadable(unreadable) if unreadable else "no image to evaluate"
        raise LoadingError(none)
    return Evaluation(
        loss=scores["loss"],
        top1=scores["top1"],
        top5=scores["top5"] if len(confusion) > TOP else None,
        samples=samples,
        confusion=confusion,
        top5_correct=runtime.sum(counts.top5_correct).cpu(),
        unreadable=unreadable,
        nonfinite=int(runtime.sum(counts.nonfinite)),
    )
