"""A trial of a search: one run at values that optuna has drawn."""

import math
from pathlib import Path

import filelock
import optuna
from optuna.trial import TrialState

from rednet.search.metric import HEADINGS
from rednet.search.outcomes import Outcome, read_outcome
from rednet.search.plan import Plan
from rednet.search.space import to_text
from rednet.training.metrics import EpochMetrics

REASON = "reason"
"""Attribute of a failed trial: why it failed."""


class Trial:
    """A trial that this process runs; no other process does meanwhile.

    Args:
        study: The study.
        trial: The trial in it.
        lock: Its lock, which this process holds.
        folder: Folder of its run.
        plan: What the search does.

    Attributes:
        settings: Value of each key of the space, as text.
        pruned: Why it was ended early, if it was.
    """

    def __init__(
        self,
        study: optuna.Study,
        trial: optuna.Trial,
        lock: filelock.BaseFileLock,
        folder: Path,
        plan: Plan,
    ) -> None:
        self.number, self.folder, self.plan = trial.number, folder, plan
        self.settings = {key: to_text(value) for key, value in trial.params.items()}
        self.pruned: str | None = None
        self._study, self._trial, self._lock = study, trial, lock
        self._reported = {*trial._cached_frozen_trial.intermediate_values}

    @property
    def overrides(self) -> list[str]:
        """Its settings as overrides in Hydra's notation."""
        return [f"{key}={value}" for key, value in self.settings.items()]

    def monitor(self, metrics: EpochMetrics) -> str | None:
        """Report an epoch; return why the trial ends now, if it does."""
        value = getattr(metrics, self.plan.metric)
        if value is None or not math.isfinite(value):
            return None
        if metrics.epoch not in self._reported:  # else by a process that was killed
            self._trial.report(value, metrics.epoch)
        if self._trial.should_prune():
            self.pruned = (
                f"pruned after epoch {metrics.epoch} by search.pruner={self.plan.pruner_name}: "
                f"{HEADINGS[self.plan.metric]} {value:.4g}"
            )
        return self.pruned

    def finish(self) -> Outcome:
        """Record the result of the run, and return it."""
        outcome = read_outcome(self.settings, self.folder, self.plan.metric, "complete")
        if self.pruned is not None:
            self._tell(None, TrialState.PRUNED)
        elif outcome.value is None:
            self.fail(f"no epoch has a {HEADINGS[self.plan.metric]}")
        else:
            self._tell(outcome.value, TrialState.COMPLETE)
        return outcome

    def fail(self, reason: str) -> None:
        """Record that the run has failed, and why in one line."""
        self._trial.set_user_attr(REASON, reason)
        self._tell(None, TrialState.FAIL)

    def release(self) -> None:
        """Leave the trial to other processes."""
        Path(self._lock.lock_file).unlink(missing_ok=True)
        self._lock.release()

    def _tell(self, value: float | None, state: TrialState) -> None:
        self._study.tell(self._trial, value, state=state)
