"""The training loop."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from timm.utils import ModelEmaV3, distribute_bn
from torch import nn
from torch.utils.data import DataLoader

from rednet.evaluation import Evaluation, evaluate
from rednet.runtime import Runtime
from rednet.training.batches import TrainBatches
from rednet.training.checkpoints import FORMAT, CheckpointStore, upgrade_train_state, versions
from rednet.training.log import RunLog
from rednet.training.random_states import random_states, restore_random_states, seed_all
from rednet.training.schedule import Schedule
from rednet.training.step import StepResult, TrainStep


@dataclass(frozen=True)
class LoopSettings:
    """Settings of the loop itself.

    Attributes:
        seed: Seed of what the network draws, such as dropout.
        max_steps: Stop after this many steps; None for the whole schedule.
        eval_every: Epochs between two evaluations; the last epoch is always evaluated.
        skip_unreadable: Evaluate without the validation images that cannot be read; otherwise
            they end the run, once the epoch is saved.
    """

    seed: int = 0
    max_steps: int | None = None
    eval_every: int = 1
    skip_unreadable: bool = False


@dataclass(frozen=True)
class Counters:
    """How far a run has come.

    Attributes:
        epoch: Epochs completed.
        global_step: Steps attempted, the clock of the schedule.
        optimizer_steps: Steps that moved the weights, the clock of the averaged weights.
    """

    epoch: int = 0
    global_step: int = 0
    optimizer_steps: int = 0


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
        store: Checkpoints of the run.
        description: What a checkpoint says about the network: model, preprocessing, class_names
            and config.
        settings: Settings of the loop.
        ema: Averaged weights, if on; they are what is evaluated.
        counters: How far the run has come.
    """

    model: nn.Module
    train_step: TrainStep
    schedule: Schedule
    batches: TrainBatches
    val_loader: DataLoader[Any]
    runtime: Runtime
    log: RunLog
    store: CheckpointStore
    description: dict[str, Any]
    settings: LoopSettings = LoopSettings()
    ema: ModelEmaV3 | None = None
    counters: Counters = Counters()

    @property
    def last_step(self) -> int:
        """Step at which the run ends."""
        total = self.schedule.total_steps
        return min(self.settings.max_steps or total, total)

    def fit(self) -> Evaluation | None:
        """Train to the end of the schedule, or to `max_steps`.

        Returns:
            The last evaluation; None if nothing was left to do.

        Raises:
            NonFiniteError: The loss or a gradient is not finite.
            InputError: Too many images cannot be read, or a checkpoint cannot be written.
        """
        evaluation = None
        start = self.counters
        seen, total = map(self.batches.images_before, (start.global_step, self.last_step))
        with self.log.open(start.epoch, start.global_step, seen, total):
            while self.counters.global_step < self.last_step:
                epoch = self.counters.epoch + 1
                self.start_epoch(epoch)
                for batches in self.batches.steps_of_epoch(epoch - 1):
                    lr = self.schedule.lr_at(self.counters.global_step)
                    result = self.train_step(batches, lr)
                    self.end_step(result, lr)
                    if self.counters.global_step == self.last_step:
                        break
                self.synchronise()
                evaluation = self.evaluate() if self.is_evaluated(epoch) else None
                self.save(epoch, evaluation)
                if evaluation and not self.settings.skip_unreadable:
                    evaluation.require_readable()
        return evaluation

    def start_epoch(self, epoch: int) -> None:
        """Seed what the network draws, and start the clock of the log."""
        seed_all(self.settings.seed, epoch - 1, self.runtime.rank)
        self.log.start_epoch(f"epoch {epoch}/{self.schedule.epochs}")
        self.model.train()

    def end_step(self, result: StepResult, lr: float) -> None:
        """Count a step, follow it with the averaged weights, and log it."""
        self.counters = replace(
            self.counters,
            global_step=self.counters.global_step + 1,
            optimizer_steps=self.counters.optimizer_steps + result.updated,
        )
        if result.updated and self.ema is not None:
            self.ema.update(self.model, step=self.counters.optimizer_steps)
        scalars = {"lr": lr}
        if self.log.is_due(self.counters.global_step):
            self.batches.unreadable.check()
            if self.train_step.scaler.is_enabled():
                scalars["loss_scale"] = self.train_step.scaler.get_scale()
        self.log.step(result, self.counters.global_step, **scalars)

    def synchronise(self) -> None:
        """Average the statistics of batch normalisation over ranks, and add up their counts."""
        if self.runtime.world_size > 1:
            distribute_bn(self.model, self.runtime.world_size, reduce=True)
        self.batches.unreadable.check()

    def is_evaluated(self, epoch: int) -> bool:
        """Return whether to evaluate after this epoch."""
        is_last = self.counters.global_step == self.last_step
        return is_last or epoch % self.settings.eval_every == 0

    def evaluate(self) -> Evaluation:
        """Evaluate the network, or its averaged weights where there are any."""
        model = self.model if self.ema is None else self.ema.module
        num_classes = len(self.description["class_names"])
        return evaluate(model, self.val_loader, num_classes, self.runtime)

    def save(self, epoch: int, evaluation: Evaluation | None) -> None:
        """Save and log an epoch; one that `max_steps` cut short does not count as completed."""
        step = self.counters.global_step
        if step == epoch * self.schedule.steps_per_epoch:
            self.counters = replace(self.counters, epoch=epoch)
        metrics = self.log.epoch_metrics(epoch, step, self.schedule.lr_at(step - 1), evaluation)
        if self.runtime.is_primary:
            checkpoint = {
                "format": FORMAT,
                **self.description,
                **self.state_dict(),
                "metrics": asdict(metrics),
                "versions": versions(),
            }
            self.store.save(checkpoint, self.counters.epoch, metrics.val_top1)
        self.log.epoch(metrics)

    def state_dict(self) -> dict[str, Any]:
        """Return all that a run needs to continue, apart from its settings."""
        state = {
            "state_dict": dict(self.model.state_dict()),
            "train_state": {
                **asdict(self.counters),
                **self.batches.unreadable.state_dict(),
                **self.train_step.state_dict(),
                **self.store.state_dict(),
                "random": random_states(),
            },
        }
        if self.ema is not None:
            state["state_dict_ema"] = dict(self.ema.module.state_dict())
        return state

    def load_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Resume after the checkpoint's last completed epoch, with the settings of this run."""
        state = upgrade_train_state(checkpoint)
        self.model.load_state_dict(checkpoint["state_dict"])
        if self.ema is not None:
            averaged = checkpoint.get("state_dict_ema", checkpoint["state_dict"])
            self.ema.module.load_state_dict(averaged)
        for part in (self.batches.unreadable, self.train_step, self.store):
            part.load_state_dict(state)
        restore_random_states(state["random"])
        epoch = state["epoch"]
        step = epoch * self.schedule.steps_per_epoch
        self.counters = Counters(epoch, step, state["optimizer_steps"])
