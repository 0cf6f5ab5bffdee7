"""The learning rate as a pure function of the update's number."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """A linear warm-up laid over a cosine, a staircase or a constant.

    As in the original's framework the cosine's clock starts with the run, not after the warm-up,
    and the warm-up multiplies what the schedule says at that moment.

    Attributes:
        name: "cosine", "step" or "constant".
        lr: Learning rate at the top.
        epochs: Length of the run.
        steps_per_epoch: Optimizer updates in an epoch.
        warmup_epochs: Length of the warm-up; need not be whole.
        warmup_start: Fraction of the learning rate at update 0.
        min_lr: Where the cosine ends.
        step_on: "epoch" holds the rate through each epoch, "update" moves it every update.
        milestones: Epochs at which a staircase goes down.
        gamma: Its factor at each.
    """

    name: str
    lr: float
    epochs: int
    steps_per_epoch: int
    warmup_epochs: float = 0.0
    warmup_start: float = 0.0
    min_lr: float = 0.0
    step_on: str = "epoch"
    milestones: tuple[float, ...] = ()
    gamma: float = 0.1

    @property
    def updates(self) -> int:
        """Updates of the whole run."""
        return self.epochs * self.steps_per_epoch

    def at(self, update: int) -> float:
        """Learning rate of an update, the run's first being 0."""
        epoch = update / self.steps_per_epoch
        if self.step_on == "epoch":
            epoch = float(update // self.steps_per_epoch)
        return self._unwarmed(epoch) * self._warmth(update)

    def _unwarmed(self, epoch: float) -> float:
        if self.name == "cosine":
            swing = 0.5 * (1 + math.cos(math.pi * epoch / self.epochs))
            return self.min_lr + (self.lr - self.min_lr) * swing
        if self.name == "step":
            return self.lr * self.gamma ** sum(epoch >= milestone for milestone in self.milestones)
        return self.lr

    def _warmth(self, update: int) -> float:
        updates = self.warmup_epochs * self.steps_per_epoch
        if update >= updates:
            return 1.0
        return 1 - (1 - update / updates) * (1 - self.warmup_start)
