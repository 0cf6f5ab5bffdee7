"""The worst mistakes of an evaluation: wrong predictions with the highest loss, over all ranks."""

from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from rednet.best_effort import BestEffort
from rednet.data import Batch
from rednet.runtime import Runtime

MAX_MISTAKES = 16


@dataclass(frozen=True, order=True)
class Mistake:
    """A wrong prediction. The worse one is the smaller one.

    Attributes:
        rank: Negative loss, then the index in the source, by which mistakes are ordered.
        target: Index of the true class.
        prediction: Index of the class with the highest logit.
        confidence: Its probability.
        name: Name of the image in its source.
        jpeg: The image as the network saw it, as a small JPEG file; empty if it cannot be made.
        image: The image as a tensor (C, H, W), until the evaluation ends.
    """

    rank: tuple[float, int]
    target: int = field(compare=False)
    prediction: int = field(compare=False)
    confidence: float = field(compare=False)
    name: str = field(compare=False, default="")
    jpeg: bytes = field(compare=False, default=b"")
    image: Tensor | None = field(compare=False, default=None, repr=False)

    @property
    def loss(self) -> float:
        """Cross-entropy."""
        return -self.rank[0]

    @property
    def index(self) -> int:
        """Index of the image in its source."""
        return self.rank[1]


class WorstMistakes:
    """Observes an evaluation. No further forward pass, and no image is read again.

    The device is not waited for: what a batch has to offer is looked at when the next one has been
    computed.

    Args:
        runtime: The processes.
        thumbnail: Returns a small file of an image (C, H, W).
        name_of: Returns the name of an image by its index.
        limit: Number of mistakes to keep.

    Attributes:
        worst: The worst mistakes over all processes, once the evaluation has ended.
    """

    def __init__(
        self,
        runtime: Runtime,
        thumbnail: Callable[[Tensor], bytes],
        name_of: Callable[[int], str] = str,
        limit: int = MAX_MISTAKES,
    ) -> None:
        self.runtime, self.thumbnail, self.name_of, self.limit = runtime, thumbnail, name_of, limit
        self.worst: list[Mistake] = []
        self._pending: tuple[Batch, _HostCopy] | None = None
        self._effort = BestEffort("the evaluation goes on")

    def start(self) -> None:
        """Forget the evaluation before."""
        self.worst, self._pending = [], None

    def add(self, batch: Batch, logits: Tensor) -> None:
        """Take a batch of this process and its logits (n, classes)."""
        offers = _HostCopy(self._rank(batch.targets, logits)) if len(batch.targets) else None
        self._settle()
        self._pending = None if offers is None else (batch, offers)

    def finish(self) -> None:
        """Agree with the other processes on the worst of all."""
        self._settle()
        self._pending = None
        ranks = sorted(rank for part in self.runtime.gather(self._ranks()) for rank in part)
        chosen = set(ranks[: self.limit])
        own = [self._complete(mistake) for mistake in self.worst if mistake.rank in chosen]
        shown = [mistake for mistake in own if mistake.jpeg]
        self.worst = sorted(mistake for part in self.runtime.gather(shown) for mistake in part)

    def _ranks(self) -> list[tuple[float, int]]:
        return [mistake.rank for mistake in self.worst]

    def _rank(self, targets: Tensor, logits: Tensor) -> Tensor:
        """Return loss, position, prediction and confidence (4, k) of the worst of a batch.

        The loss of a sample that is no mistake, or whose loss is not finite, is negative.
        """
        targets = targets.to(logits.device, non_blocking=True)
        losses = F.cross_entropy(logits, targets, reduction="none")
        top, predictions = (values[:, 0] for values in logits.topk(1, dim=1))
        confidences = (top - logits.logsumexp(1)).exp()
        is_mistake = (predictions != targets) & losses.isfinite()
        losses = torch.where(is_mistake, losses, -1.0)
        order = losses.argsort(descending=True, stable=True)[: self.limit]
        columns = (
            losses,
            torch.arange(len(losses), device=losses.device),
            predictions,
            confidences,
        )
        return torch.stack([column.double() for column in columns])[:, order]

    def _settle(self) -> None:
        if self._pending is None:
            return
        batch, offers = self._pending
        with self._effort.write("the worst mistakes of an evaluation"):
            for loss, position, prediction, confidence in offers.get().T.tolist():
                if not self._keep(batch, loss, int(position), int(prediction), confidence):
                    return

    def _keep(
        self, batch: Batch, loss: float, position: int, prediction: int, confidence: float
    ) -> bool:
        """Keep a mistake if it is among the worst so far; return whether it was."""
        index = int(batch.indices[position])
        rank = (-loss, index)
        is_full = len(self.worst) == self.limit
        if loss < 0 or (is_full and rank > self.worst[-1].rank):
            return False
        target, image = int(batch.targets[position]), batch.images[position].clone()
        insort(self.worst, Mistake(rank, target, prediction, confidence, image=image))
        del self.worst[self.limit :]
        return True

    def _complete(self, mistake: Mistake) -> Mistake:
        """Return a mistake with its name and its file, instead of the tensor."""
        with self._effort.write("the image of a mistake"):
            assert mistake.image is not None
            jpeg, name = self.thumbnail(mistake.image), self.name_of(mistake.index)
            return replace(mistake, name=name, jpeg=jpeg, image=None)
        return replace(mistake, image=None)


class _HostCopy:
    """A copy of numbers on the host, which is complete once the device has come so far."""

    def __init__(self, values: Tensor) -> None:
        self.values = values.to("cpu", non_blocking=True)
        self.event = torch.cuda.Event() if values.is_cuda else None
        if self.event is not None:
            self.event.record()

    def get(self) -> Tensor:
        """Return the numbers."""
        if self.event is not None:
            self.event.synchronize()
        return self.values
