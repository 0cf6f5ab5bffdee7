"""What a run does about a step whose loss or gradients are not finite."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from rednet.best_effort import BestEffort
from rednet.errors import InputError
from rednet.evaluation import Evaluation
from rednet.files import write_atomically
from rednet.program import say
from rednet.training.batches import MicroBatch
from rednet.training.step import StepResult
from rednet.wording import count, join_names

ADVICE = "Lower optimizer.lr or set trainer.clip_grad"


class NonFiniteError(InputError):
    """A loss or a gradient is not finite; the weights have not moved."""


class Rollback(Exception):
    """The run has to go back to its newest checkpoint."""


class NonFinitePolicy:
    """Decides whether a run goes on after a step with a loss or gradient that is not finite.

    All ranks decide the same, since loss and gradient norm are those of all ranks.

    Args:
        folder: Folder for the batches of failed steps.
        rank: Rank of this process.
        on_nonfinite: "raise", "skip" the step, or "rollback" to the newest checkpoint and pass over
            the step's batch.
        max_skips: Most steps that a run may skip.
        max_skips_in_a_row: Most consecutive steps that a run may skip.
        max_rollbacks: Most times that a run may go back.

    Attributes:
        skips: Steps skipped so far.
        skips_in_a_row: Steps skipped since the weights moved.
        passed_over: Steps, counted from 0, whose batches a rollback excluded from training.
    """

    def __init__(
        self,
        folder: Path,
        rank: int = 0,
        on_nonfinite: str = "raise",
        max_skips: int = 100,
        max_skips_in_a_row: int = 10,
        max_rollbacks: int = 3,
    ) -> None:
        self.folder, self.rank, self.on_nonfinite = folder, rank, on_nonfinite
        self.max_skips, self.max_skips_in_a_row = max_skips, max_skips_in_a_row
        self.max_rollbacks = max_rollbacks
        self.skips = self.skips_in_a_row = 0
        self.passed_over: list[int] = []

    @property
    def needs_checkpoint(self) -> bool:
        """Whether there must be a checkpoint before the first step."""
        return self.on_nonfinite == "rollback"

    def is_failure(self, result: StepResult, scaler: torch.amp.GradScaler) -> bool:
        """Return whether a step failed.

        An overflow in fp16 is no failure: the scaler skips the step and halves its scale. It
        becomes one when the scale was below 1 before. Nor is a step without images one.
        """
        if result.updated:
            self.skips_in_a_row = 0
            return False
        if not result.num_samples:
            return False
        is_overflow = scaler.is_enabled() and math.isfinite(result.loss_sum)
        return not is_overflow or scaler.get_scale() < 0.5

    def handle(self, failure: "FailedStep") -> None:
        """Report a failed step and skip it, or do what else the policy says.

        Raises:
            Rollback: The run has to go back to its newest checkpoint.
            NonFiniteError: The run has to end.
        """
        if failure.result.is_suspect:
            failure.report(self.folder, self.rank)
        if self.on_nonfinite == "rollback":
            if len(self.passed_over) < self.max_rollbacks:
                self.passed_over.append(failure.step)
                raise Rollback
            remedy = f"{ADVICE}: {count(self.max_rollbacks, 'rollback')} did not help"
        elif self.on_nonfinite == "skip":
            self.skips += 1
            self.skips_in_a_row += 1
            limit = self._exceeded_limit()
            if limit is None:
                return
            remedy = f"{ADVICE}: more steps were skipped than {limit} allows"
        else:
            remedy = f"{ADVICE}, or skip such steps with trainer.on_nonfinite=skip"
        raise NonFiniteError(f"{failure}; the weights have not moved. {remedy}")

    def _exceeded_limit(self) -> str | None:
        """Return the limit on skipped steps that is exceeded, None if none is."""
        if self.skips_in_a_row > self.max_skips_in_a_row:
            return f"trainer.max_skips_in_a_row={self.max_skips_in_a_row}"
        return f"trainer.max_skips={self.max_skips}" if self.skips > self.max_skips else None

    def state_dict(self) -> dict[str, Any]:
        """Return the counts and the steps to pass over."""
        names = ("skips", "skips_in_a_row", "passed_over")
        return {"nonfinite": {name: getattr(self, name) for name in names}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        saved = state.get("nonfinite", {})  # earlier checkpoints lack it
        self.skips = saved.get("skips", 0)
        self.skips_in_a_row = saved.get("skips_in_a_row", 0)
        self.passed_over = list(saved.get("passed_over", []))


@dataclass(frozen=True)
class FailedStep:
    """A step whose loss or gradients are not finite.

    Attributes:
        step: Number of the step, from 0.
        result: Its result.
        lr: Learning rate.
        loss_scale: Factor of the loss in fp16, 1 in other precisions.
        batches: Micro-batches of this rank.
        names: Names of their images.
    """

    step: int
    result: StepResult
    lr: float
    loss_scale: float
    batches: Sequence[MicroBatch]
    names: Sequence[str]

    def __str__(self) -> str:
        what = f"the gradient norm is {self.result.grad_norm}"
        if not math.isfinite(self.result.loss_sum):
            what = f"the loss is {self.result.loss_sum}"
        elif math.isfinite(self.result.grad_norm):
            what = "loss and gradient are finite, but not what the step left behind"
        scale = "" if self.loss_scale == 1 else f", loss scale {self.loss_scale:g}"
        return f"step {self.step + 1} (learning rate {self.lr:g}{scale}): {what}"

    def report(self, folder: Path, rank: int, **more: Any) -> None:
        """Print what happened; save the batches to `folder`, if possible, for `torch.load`.

        This is the only file of a run that ranks other than the first one write: each its own
        batches. On a machine that does not have the run's folder they are named only.

        Args:
            folder: Where the file goes.
            rank: Rank of this process.
            **more: What else goes into it.
        """
        images = join_names(list(self.names))
        if not folder.parent.is_dir():
            say(f"warning: {self}; its batch is not saved, for lack of {folder.parent}: {images}")
            return
        path = folder / f"step-{self.step + 1:08d}-rank-{rank}.pt"
        numbers = {"step": self.step, "lr": self.lr, "loss_scale": self.loss_scale}
        batches = [batch._asdict() for batch in self.batches]
        content = {**numbers, "batches": batches, "names": list(self.names), **more}
        effort = BestEffort("the batch cannot be replayed")
        with effort.write(str(path)):
            write_atomically(path, partial(torch.save, content))
        batch = f"its batch is in {path}" if effort.failure is None else "its images"
        say(f"warning: {self}; {batch}: {images}")


def require_finite(evaluation: Evaluation | None, epoch: int) -> None:
    """Require a finite loss of an evaluation, if there was one.

    Raises:
        NonFiniteError: It is infinite or not a number.
    """
    if evaluation is not None and not math.isfinite(evaluation.loss):
        raise NonFiniteError(
            f"epoch {epoch}: the validation loss is {evaluation.loss}; the epoch is not saved, "
            f"earlier checkpoints are unchanged. {ADVICE}"
        )
