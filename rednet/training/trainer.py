"""The training loop."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from timm.utils import ModelEmaV3
from torch import nn

from rednet.data import ImageLoader
from rednet.data.seeding import seed_all
from rednet.evaluation import Evaluation, LoadingError, evaluate
from rednet.layers.pointwise_forms import Forms, pointwise_forms, set_pointwise_forms
from rednet.ranks.pulse import PULSE
from rednet.runtime import Runtime
from rednet.signals import StopSignals
from rednet.training.agreement import require_equal_ranks, share_statistics
from rednet.training.batches import MicroBatch, TrainBatches
from rednet.training.checkpoints import upgrade_train_state
from rednet.training.counters import Counters
from rednet.training.ending import give_up, heed, save_early, stop
from rednet.training.log import RunLog
from rednet.training.metrics import EpochMetrics
from rednet.training.nonfinite import FailedStep, NonFinitePolicy, Rollback, require_finite
from rednet.training.recovery import read_newest_content
from rednet.training.saver import Saver
from rednet.training.schedule import Schedule
from rednet.training.settings import LoopSettings
from rednet.training.step import TrainStep


@dataclass(eq=False)
class Trainer:
    """Trains a network, evaluates it, and saves and logs every epoch.

    Attributes:
        model: Network, neither compiled nor wrapped.
        train_step: Moves its weights.
        schedule: Learning rate of every step.
        batches: Training images of every step.
        val_loader: Validation batches.
        runtime: Device, precision and processes.
        log: Log of the run.
        saver: Writes the checkpoints.
        counters: How far the run has come.
        nonfinite: What to do about a step whose loss or gradients are not finite.
        num_classes: Number of classes.
        settings: Settings of the loop.
        ema: Averaged weights, if on; they are what is evaluated.
        signals: Signals that ask the run to stop.
        monitor: Told of each epoch that was evaluated and saved; what it returns, if anything, is
            the reason to end the run.
        ended: The reason for which the monitor has ended the run, if it has.
    """

    model: nn.Module
    train_step: TrainStep
    schedule: Schedule
    batches: TrainBatches
    val_loader: ImageLoader
    runtime: Runtime
    log: RunLog
    saver: Saver
    counters: Counters
    nonfinite: NonFinitePolicy
    num_classes: int
    settings: LoopSettings = field(default_factory=LoopSettings)
    ema: ModelEmaV3 | None = None
    signals: StopSignals = field(default_factory=StopSignals)
    monitor: Callable[[EpochMetrics], str | None] | None = None
    ended: str | None = None

    @property
    def last_step(self) -> int:
        """Step at which the run ends."""
        return min(self.settings.max_steps or self.schedule.total_steps, self.schedule.total_steps)

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to do."""
        ends_early = self.settings.early_stopping.reason(self.log.rows) is not None
        ends_early = ends_early or self.ended is not None
        is_done = ends_early or self.counters.global_step >= self.last_step
        return is_done and not self.counters.is_epoch_trained

    def fit(self) -> Evaluation | None:
        """Train to the end of the schedule, or to `max_steps`.

        Returns:
            The last evaluation; None if nothing was left to do, or the last epoch not evaluated.

        Raises:
            NonFiniteError: The loss, a gradient or an evaluation is not finite.
            InputError: Too many images cannot be read, or the last checkpoint cannot be written.
            Stopped: A signal asked for it; the run is saved.
        """
        if self.is_finished:
            return None
        evaluation = None
        train, val = self.batches.loader, self.val_loader
        train.before_restart = val.before_restart = partial(save_early, self)
        with self.signals.deferred(), closing(self.log), self.saver, train, val:
            require_equal_ranks(self.model, self.counters.global_step, self.runtime)
            self.open_log()
            if self.nonfinite.needs_checkpoint and self.saver.saved is None:
                self.save()
            while not self.is_finished:
                try:
                    self.train_epoch()
                except Rollback:
                    self.roll_back()
                    continue
                evaluation = (
                    self.end_epoch() if self.counters.is_epoch_trained else self.end_early()
                )
        return evaluation

    def open_log(self) -> None:
        """Open the log where the run is."""
        step = self.counters.global_step
        self.log.open(step, *map(self.batches.images_before, (step, self.last_step)))

    def train_epoch(self) -> None:
        """Make the epoch's remaining steps, up to `last_step`."""
        start = self.counters
        self.train_step.train(start.epoch)
        self.log.start_epoch(start.epoch + 1, self.schedule.epochs, start.step_in_epoch)
        steps = self.batches.steps_of_epoch(start.epoch, start.step_in_epoch)
        for batches in self.log.loading(steps):
            reports = self.step(batches)
            if self.counters.is_epoch_trained:
                share_statistics(self.model, self.runtime, average=True)
            heed(self, *reports)
            if self.counters.global_step == self.last_step:
                break
            if self.saver.is_due(self.counters.global_step) and not self.counters.is_epoch_trained:
                self.save()

    def step(self, batches: Sequence[MicroBatch]) -> Sequence[int]:
        """Make one step and log it; return how many ranks have which report, see `heed`."""
        step, scaler = self.counters.global_step, self.train_step.scaler
        if step in self.nonfinite.passed_over:
            self.counters = self.counters.after_step(updated=False)
            return (0, 0, 0)
        lr = self.schedule.lr_at(step)
        seed_all(self.settings.seed, step, self.runtime.rank)
        reports = (self.batches.unreadable.pending, self.signals.received, self.saver.asks)
        result = self.train_step(batches, lr, [int(bool(report)) for report in reports])
        if result.gave_up:
            give_up(self, max(batch.failure for batch in batches))
        PULSE.reach(step + 1)
        self.counters = self.counters.after_step(updated=result.updated)
        if result.updated and self.ema is not None:
            share_statistics(self.model, self.runtime, average=True)  # each rank averages the same
            self.ema.update(self.model, step=self.counters.optimizer_steps)
        self.log.step(result, step + 1, lr=lr, scaler=scaler, batches=batches)
        if self.nonfinite.is_failure(result, scaler):
            names = self.batches.names(batches)
            self.nonfinite.handle(FailedStep(step, result, lr, scaler.get_scale(), batches, names))
        return result.counts

    def end_epoch(self) -> Evaluation | None:
        """Evaluate, log and save a trained epoch."""
        epoch = self.counters.epoch + 1
        is_due = epoch == self.schedule.epochs or epoch % self.settings.eval_every == 0
        evaluation = self.evaluate() if is_due else None
        metrics = self.log.epoch_metrics(epoch, self.counters.global_step, evaluation)
        self.log.epoch(metrics)
        require_finite(evaluation, epoch)
        require_equal_ranks(self.model, self.counters.global_step, self.runtime)
        self.counters = self.counters.after_epoch()
        self.save(metrics)
        if evaluation and not self.settings.skip_unreadable:
            evaluation.require_readable()
        if evaluation and self.monitor is not None:
            self.ended = self.monitor(metrics)
        return evaluation

    def end_early(self) -> Evaluation:
        """Save inside an epoch, where `max_steps` ends the run, and evaluate what is saved."""
        self.save()
        share_statistics(self.model, self.runtime, average=False)
        evaluation = self.evaluate()
        epoch = self.counters.epoch + 1
        self.log.trial(self.log.epoch_metrics(epoch, self.counters.global_step, evaluation))
        require_finite(evaluation, epoch)
        return evaluation

    def evaluate(self) -> Evaluation:
        """Evaluate the network, or its averaged weights where there are any."""
        model = self.model if self.ema is None else self.ema.module
        batches = self.signals.until_stopped(self.val_loader, self.runtime, partial(stop, self))
        try:
            with self.log.evaluating() as progress:
                observer = self.log.mistakes
                return evaluate(model, batches, self.num_classes, self.runtime, progress, observer)
        except LoadingError as error:
            give_up(self, str(error))

    def save(self, metrics: EpochMetrics | None = None) -> None:
        """Save in the background: a complete epoch with its metrics, or inside an epoch."""
        self.log.flush()
        self.saver.save(self.state_dict(), self.counters, metrics)

    def roll_back(self) -> None:
        """Go back to the newest checkpoint."""
        self.saver.wait()
        passed_over = self.nonfinite.passed_over
        read = partial(read_newest_content, self.saver.store)
        self.load_state_dict(self.runtime.on_primary(read))
        self.saver.saved = self.counters
        self.nonfinite.passed_over = passed_over
        self.open_log()

    def state_dict(self) -> dict[str, Any]:
        """Return all that a run needs to continue, apart from its settings."""
        parts = (self.counters, self.batches.unreadable, self.train_step, self.nonfinite, self.log)
        train_state = {key: value for part in parts for key, value in part.state_dict().items()}
        train_state["pointwise"] = asdict(pointwise_forms())
        state = {"state_dict": dict(self.model.state_dict()), "train_state": train_state}
        if self.ema is not None:
            state["state_dict_ema"] = dict(self.ema.module.state_dict())
        return state

    def load_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Continue from a checkpoint, with the settings of this run."""
        state = upgrade_train_state(checkpoint)
        self.counters = self.counters.restored(state)
        self.model.load_state_dict(checkpoint["state_dict"])
        if self.ema is not None:
            averaged = checkpoint.get("state_dict_ema", checkpoint["state_dict"])
            self.ema.module.load_state_dict(averaged)
        for part in (self.batches.unreadable, self.train_step, self.nonfinite, self.log):
            part.load_state_dict(state)
        self.saver.store.load_state_dict(state)
        set_pointwise_forms(Forms(**state["pointwise"]))
