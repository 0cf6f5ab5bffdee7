"""Exact evaluation: loss, top-1, top-5, and which class was taken for which."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from timm.task import ClassificationEvaluator
from torch import Tensor, nn

from rednet.data import Batch
from rednet.errors import InputError
from rednet.runtime import Runtime

NAMED_AT_MOST = 10


@dataclass(frozen=True)
class Evaluation:
    """Results over all samples of all processes.

    Attributes:
        loss: Mean cross-entropy.
        top1: Percentage of samples whose class had the highest logit.
        top5: Percentage of samples whose class was among the five highest.
        samples: How many were evaluated.
        confusion: Counts (classes, classes) by true class (row) and predicted class (column).
        top5_correct: Samples (classes,) of each true class that were among the five highest.
        unreadable: (name, reason) of every image that could not be read.
    """

    loss: float
    top1: float
    top5: float
    samples: int
    confusion: Tensor
    top5_correct: Tensor
    unreadable: list[tuple[str, str]] = field(default_factory=list)

    def per_class(self, class_names: Sequence[str]) -> list[dict[str, Any]]:
        """One row for each class, top-1 and top-5 in percent, None for a class without samples."""
        counts = self.confusion.sum(1)
        mistakes = self.confusion.clone().fill_diagonal_(0)
        rows = []
        for index, name in enumerate(class_names):
            count = int(counts[index])
            worst = int(mistakes[index].argmax())
            rows.append(
                {
                    "class": name,
                    "samples": count,
                    "top1": 100 * int(self.confusion[index, index]) / count if count else None,
                    "top5": 100 * int(self.top5_correct[index]) / count if count else None,
                    "most_mistaken_for": class_names[worst] if mistakes[index, worst] else None,
                }
            )
        return rows

    def require_readable(self) -> None:
        """Raises InputError where images could not be read, naming them."""
        if self.unreadable:
            raise InputError(
                f"{describe_unreadable(self.unreadable)}; mend or remove them, or leave them out "
                "with data.on_unreadable=skip"
            )


def describe_unreadable(unreadable: list[tuple[str, str]]) -> str:
    """One line that counts and names images that could not be read."""
    named = "; ".join(f"{name} ({reason})" for name, reason in unreadable[:NAMED_AT_MOST])
    more = len(unreadable) - NAMED_AT_MOST
    rest = f"; and {more} more" if more > 0 else ""
    return f"{len(unreadable)} image(s) cannot be read: {named}{rest}"


class _Tally:
    """Running counts on the device, without a synchronisation per batch."""

    def __init__(self, num_classes: int, device: torch.device) -> None:
        self.scores = ClassificationEvaluator(device)
        self.confusion = torch.zeros(num_classes, num_classes, dtype=torch.int64, device=device)
        self.top5_correct = torch.zeros(num_classes, dtype=torch.int64, device=device)

    def add(self, logits: Tensor, targets: Tensor) -> None:
        self.scores.update(logits, targets)
        classes = self.confusion.shape[0]
        best = logits.topk(min(5, classes), dim=1).indices
        ones = torch.ones_like(targets)
        cells = targets * classes + best[:, 0]
        self.confusion.view(-1).scatter_add_(0, cells, ones)
        found = best.eq(targets[:, None]).any(1)
        self.top5_correct.scatter_add_(0, targets, found.long())


@torch.no_grad()
def evaluate(
    model: nn.Module,
    batches: Iterable[Batch],
    num_classes: int,
    runtime: Runtime,
    progress: Any = None,
) -> Evaluation:
    """Evaluates a network on all batches; every process brings its own and gets all results.

    Args:
        model: Gives logits (n, num_classes); left in the mode it was in.
        batches: Of this process.
        num_classes: Of the network.
        runtime: Where and how to compute.
        progress: Has `advance(images)`, or None.

    Raises:
        InputError: There is no readable image at all.
    """
    training = model.training
    tally = _Tally(num_classes, runtime.device)
    unreadable: list[tuple[str, str]] = []
    model.eval()
    for batch in batches:
        unreadable += batch.unreadable
        if len(batch.targets):
            with runtime.autocast():
                logits = model(runtime.place_images(batch.images))
            tally.add(logits, batch.targets.to(runtime.device))
        if progress is not None:
            progress.advance(len(batch.targets) * runtime.world_size)
    model.train(training)
    return _collect(tally, unreadable, runtime)


def _collect(tally: _Tally, unreadable: list[tuple[str, str]], runtime: Runtime) -> Evaluation:
    unreadable = [image for images in runtime.gather(unreadable) for image in images]
    scores = tally.scores.compute(distributed=runtime.world_size > 1)
    confusion = runtime.sum(tally.confusion).cpu()
    samples = int(confusion.sum())
    if samples == 0:
        raise InputError(describe_unreadable(unreadable) if unreadable else "no image to evaluate")
    return Evaluation(
        loss=scores["loss"],
        top1=scores["top1"],
        top5=scores["top5"],
        samples=samples,
        confusion=confusion,
        top5_correct=runtime.sum(tally.top5_correct).cpu(),
        unreadable=unreadable,
    )
