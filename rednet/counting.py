"""What counts as a right answer in an evaluation: outputs that compete, labels that are right."""

from dataclasses import dataclass

import torch
from torch import Tensor

TOP = 5
"""Predictions of an image that are looked at, where there are more classes."""


@dataclass(frozen=True)
class Counting:
    """What counts as a right answer.

    Attributes:
        outputs: Indices of the network's outputs that compete, by class index; None for all.
        labels: Class indices that are right for each image of the source (N, K) int64, filled up
            with -1; None if these are the targets alone.
    """

    outputs: Tensor | None = None
    labels: Tensor | None = None

    def select(self, logits: Tensor) -> Tensor:
        """Return the logits of the outputs that compete (n, classes)."""
        return logits if self.outputs is None else logits[:, self.outputs.to(logits.device)]

    def targets(self, logits: Tensor, targets: Tensor, indices: Tensor) -> Tensor:
        """Return the class that each image is counted as (n,) int64.

        Of several labels it is the one that the network ranks highest, so that a prediction is
        right if it is any of the labels, and so are the five most probable ones.

        Args:
            logits: Logits (n, classes) float32.
            targets: Class indices (n,).
            indices: Indices of the images in the source (n,).
        """
        if self.labels is None:
            return targets
        labels = self.labels[indices.cpu()].to(logits.device)
        allowed = torch.zeros(
            len(logits), logits.shape[1] + 1, dtype=torch.bool, device=logits.device
        )
        allowed.scatter_(1, labels.where(labels >= 0, logits.shape[1]), True)
        allowed = allowed[:, :-1]
        best = logits.where(allowed, -torch.inf).argmax(1)
        # Of equal logits, the one that topk ranks first.
        top = logits.topk(min(TOP, logits.shape[1]), dim=1).indices
        hits = allowed.gather(1, top)
        first = top.gather(1, hits.int().argmax(1, keepdim=True))[:, 0]
        return first.where(hits.any(1), best)


ALL = Counting()
"""All outputs compete, and each image has one label."""
