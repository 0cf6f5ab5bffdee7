"""Sums over the steps of an epoch."""

from dataclasses import dataclass


@dataclass
class EpochTotals:
    """Sums over the steps of an epoch so far.

    Attributes:
        loss_sum: Sum of the losses of all samples, without skipped steps.
        num_samples: Number of these samples.
        skipped: Number of skipped steps.
        lr: Learning rate of the last step.
        seconds: Duration up to the last step.
    """

    loss_sum: float = 0.0
    num_samples: int = 0
    skipped: int = 0
    lr: float = 0.0
    seconds: float = 0.0
