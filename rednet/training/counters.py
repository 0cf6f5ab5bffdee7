"""How far a run has come."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from rednet.errors import InputError


@dataclass(frozen=True)
class Counters:
    """How far a run has come.

    Attributes:
        steps_per_epoch: Steps in an epoch.
        epoch: Epochs completed: trained, evaluated if that was due, logged and saved.
        step_in_epoch: Steps attempted in the current epoch.
        optimizer_steps: Steps that moved the weights, the clock of the averaged weights.
    """

    steps_per_epoch: int
    epoch: int = 0
    step_in_epoch: int = 0
    optimizer_steps: int = 0

    @property
    def global_step(self) -> int:
        """Steps attempted, the clock of the schedule."""
        return self.epoch * self.steps_per_epoch + self.step_in_epoch

    @property
    def is_epoch_trained(self) -> bool:
        """Whether the current epoch needs no more steps."""
        return self.step_in_epoch == self.steps_per_epoch

    def after_step(self, *, updated: bool) -> "Counters":
        """Return the counters after another step, which moved the weights or did not."""
        return replace(
            self,
            step_in_epoch=self.step_in_epoch + 1,
            optimizer_steps=self.optimizer_steps + updated,
        )

    def after_epoch(self) -> "Counters":
        """Return the counters after the current epoch is completed."""
        return replace(self, epoch=self.epoch + 1, step_in_epoch=0)

    def state_dict(self) -> dict[str, int]:
        """Return the counts."""
        names = ("epoch", "step_in_epoch", "global_step", "optimizer_steps")
        return {name: getattr(self, name) for name in names}

    def restored(self, state: Mapping[str, Any]) -> "Counters":
        """Return the counters that `state_dict` described, for this run's length of an epoch.

        Raises:
            InputError: An earlier version of this package stopped inside an epoch, and saved the
                weights under the number of the epoch before.
        """
        is_old = "step_in_epoch" not in state
        if is_old and state["global_step"] != state["epoch"] * self.steps_per_epoch:
            raise InputError(
                f"the checkpoint was written by an earlier version inside an epoch (after "
                f"step {state['global_step']}) and cannot be resumed"
            )
        step_in_epoch = state.get("step_in_epoch", 0)
        return replace(
            self,
            epoch=state["epoch"],
            step_in_epoch=step_in_epoch,
            optimizer_steps=state["optimizer_steps"],
        )
