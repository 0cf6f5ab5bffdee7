"""The loss that training minimises."""

from dataclasses import dataclass
from typing import Protocol

import torch.nn.functional as F
from timm.loss import BinaryCrossEntropy as TimmBinaryCrossEntropy
from torch import Tensor


class Loss(Protocol):
    """A loss that can be added up over micro-batches and ranks.

    Attributes:
        class_weights: Weights (classes,) of the classes; None for equal weights.
    """

    @property
    def class_weights(self) -> Tensor | None:
        """Return the attribute."""

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the sum of the losses of all samples.

        Args:
            logits: Logits (n, classes).
            targets: Class indices (n,), or probabilities (n, classes) which are smoothed already.
        """


@dataclass(frozen=True, eq=False)
class CrossEntropy:
    """Cross-entropy over the softmax.

    Attributes:
        label_smoothing: Probability spread over all classes, where targets are indices.
        class_weights: Weights (classes,) of the terms of each class, as in
            `torch.nn.CrossEntropyLoss`; None for equal weights.
    """

    label_smoothing: float = 0.0
    class_weights: Tensor | None = None

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the sum of the losses of all samples, see `Loss`."""
        smoothing = self.label_smoothing if targets.dim() == 1 else 0.0
        weights = self.class_weights
        return F.cross_entropy(
            logits,
            targets,
            weight=None if weights is None else weights.to(logits),
            reduction="sum",
            label_smoothing=smoothing,
        )


@dataclass(frozen=True, eq=False)
class BinaryCrossEntropy:
    """Mean over the classes of the loss of an independent decision for each class, as in timm.

    Wightman et al. 2021, "ResNet strikes back", https://arxiv.org/abs/2110.00476.

    Attributes:
        label_smoothing: Probability spread over all classes, where targets are indices.
        target_threshold: Targets above it become 1 and the others 0; None leaves them soft.
        class_weights: Weights (classes,) of the samples of each class; None for equal weights. A
            blended sample has the weights of its classes in the shares of the blend.
    """

    label_smoothing: float = 0.0
    target_threshold: float | None = None
    class_weights: Tensor | None = None

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the sum of the losses of all samples, see `Loss`."""
        loss = TimmBinaryCrossEntropy(
            self.label_smoothing, self.target_threshold, reduction="none"
        )(logits, targets.to(logits) if targets.dim() == 2 else targets)
        if self.class_weights is None:
            return loss.mean(1).sum()
        weights = self.class_weights.to(logits)
        shares = weights[targets] if targets.dim() == 1 else targets.to(logits) @ weights
        return loss.mean(1) @ shares
