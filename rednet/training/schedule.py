"""The learning rate as a pure function of the step number."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """A cosine, staircase or constant learning rate, multiplied by a linear warm-up.

    As in the original's framework, the cosine starts with the run and not after the warm-up, so the
    warm-up factor multiplies a rate that already falls.

    Attributes:
        name: "cosine", "step" or "constant".
        lr: Learning rate at the top.
        epochs: Length of the run.
        steps_per_epoch: Steps in an epoch.
        warmup_epochs: Length of the warm-up; may be fractional.
        warmup_start: Warm-up factor at step 0.
        min_lr: Learning rate at which the cosine ends.
        step_on: "epoch" keeps the rate constant within an epoch, "step" changes it every step.
        milestones: Epochs at which the staircase descends.
        gamma: Factor applied at each milestone.
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
    def total_steps(self) -> int:
        """Steps of the whole run."""
        return self.epochs * self.steps_per_epoch

    def lr_at(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        epoch = step / self.steps_per_epoch
        if self.step_on == "epoch":
            epoch = float(step // self.steps_per_epoch)
        return self.base_lr(epoch) * self.warmup_factor(step)

    def base_lr(self, epoch: float) -> float:
        """Return the learning rate without the warm-up."""
        if self.name == "cosine":
            swing = 0.5 * (1 + math.cos(math.pi * epoch / self.epochs))
            return self.min_lr + (self.lr - self.min_lr) * swing
        if self.name == "step":
            return self.lr * self.gamma ** sum(epoch >= milestone for milestone in self.milestones)
        return self.lr

    def warmup_factor(self, step: int) -> float:
        """Return the factor of the warm-up, 1 once it is over."""
        steps = self.warmup_epochs * self.steps_per_epoch
        if step >= steps:
            return 1.0
        return 1 - (1 - step / steps) * (1 - self.warmup_start)
