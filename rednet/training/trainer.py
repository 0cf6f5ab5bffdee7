"""The training loop: epochs of updates, evaluation, records, checkpoints."""

import random
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from timm.utils import ModelEmaV3, distribute_bn
from torch import nn
from torch.utils.data import DataLoader

from rednet.data import Batch, TrainSampler
from rednet.data.seeding import hash_seed
from rednet.errors import InputError
from rednet.evaluation import Evaluation, describe_unreadable, evaluate
from rednet.runtime import Runtime
from rednet.training.checkpoints import (
    FORMAT,
    CheckpointStore,
    TrainState,
    random_states,
    restore_random_states,
    versions,
)
from rednet.training.metrics import EpochMetrics, MetricsLog, Progress
from rednet.training.mixing import Mixing
from rednet.training.schedule import Schedule
from rednet.training.step import MicroBatch, UpdateResult, UpdateStep


@dataclass(frozen=True)
class LoopSettings:
    """How the loop goes on, beside what its parts know.

    Attributes:
        seed: Of the run.
        max_steps: Stop after so many updates, None after the schedule's epochs.
        eval_every: Epochs between two evaluations; the last epoch is always evaluated.
        log_every: Updates between two lines and points.
        max_unreadable: Training images that may be passed over in the whole run.
        skip_unreadable: Whether evaluation may pass over images; otherwise they end the run, once
            the epoch is saved.
    """

    seed: int = 0
    max_steps: int | None = None
    eval_every: int = 1
    log_every: int = 50
    max_unreadable: int = 10
    skip_unreadable: bool = False


@dataclass
class _Totals:
    """Sums over an epoch's updates."""

    loss: float = 0.0
    samples: int = 0
    seconds: float = 0.0
    skipped: int = 0

    def add(self, result: UpdateResult) -> None:
        if result.updated:
            self.loss += result.loss_sum
            self.samples += result.samples
        else:
            self.skipped += 1

    @property
    def mean_loss(self) -> float | None:
        return self.loss / self.samples if self.samples else None


class Trainer:
    """Trains a network and leaves everything that is known about it in one folder.

    Args:
        model: The network itself, neither compiled nor wrapped.
        step: Makes updates of it.
        schedule: Of the learning rate.
        sampler: Which samples an update sees.
        loader: Batches of the sampler.
        val_loader: Batches of the validation half.
        runtime: Where and how to compute.
        folder: The run's folder.
        store: Its checkpoints.
        description: What a checkpoint says about the network: model, preprocessing, class_names,
            config.
        settings: Of the loop.
        mixing: Of pictures and labels.
        ema: Averaged weights; where there are some, they are what is evaluated.
    """

    def __init__(
        self,
        model: nn.Module,
        step: UpdateStep,
        schedule: Schedule,
        sampler: TrainSampler,
        loader: DataLoader[Any],
        val_loader: DataLoader[Any],
        runtime: Runtime,
        folder: Path,
        store: CheckpointStore,
        description: dict[str, Any],
        settings: LoopSettings,
        mixing: Mixing | None = None,
        ema: ModelEmaV3 | None = None,
    ) -> None:
        self.model, self.step, self.schedule = model, step, schedule
        self.sampler, self.loader, self.val_loader = sampler, loader, val_loader
        self.runtime, self.folder, self.store = runtime, folder, store
        self.description, self.settings = description, settings
        self.mixing, self.ema = mixing, ema
        self.state = TrainState()
        self.log: MetricsLog | None = None
        self.progress: Progress

    @property
    def num_classes(self) -> int:
        """Classes of the data."""
        return len(self.description["class_names"])

    def resume(self, checkpoint: dict[str, Any]) -> None:
        """Goes on from the end of the epoch after which `checkpoint` was written.

        Settings of the optimizer are those of this run, its memory is the checkpoint's.
        """
        kept = checkpoint["train_state"]
        settings = [
            {name: value for name, value in group.items() if name != "params"}
            for group in self.step.optimizer.param_groups
        ]
        self.model.load_state_dict(checkpoint["state_dict"])
        if self.ema is not None:
            averaged = checkpoint.get("state_dict_ema", checkpoint["state_dict"])
            self.ema.module.load_state_dict(averaged)
        self.step.optimizer.load_state_dict(kept["optimizer"])
        for group, own in zip(self.step.optimizer.param_groups, settings, strict=True):
            group.update(own)
        if kept["scaler"]:  # empty where the run had no half precision so far
            self.step.scaler.load_state_dict(kept["scaler"])
        restore_random_states(kept["random"])
        self.state = TrainState(**{field.name: kept[field.name] for field in fields(TrainState)})
        self.state.update = self.state.epoch * self.schedule.steps_per_epoch

    def fit(self) -> Evaluation | None:
        """Runs to the end of the schedule or to `max_steps`.

        Returns:
            The last evaluation; None where the run was already over.

        Raises:
            NonFiniteError: The loss or a gradient is not finite.
            InputError: Too many images cannot be read, or a checkpoint cannot be written.
        """
        total = self._last_update() * self.sampler.global_batch
        done = self.state.update * self.sampler.global_batch
        self.progress = Progress(
            min(total, self.schedule.epochs * self.sampler.num_samples),
            done,
            every=self.settings.log_every,
            enabled=self.runtime.is_primary,
        )
        if self.runtime.is_primary:
            self.log = MetricsLog(self.folder, self.state.epoch, self.state.update)
        evaluation = None
        try:
            while self.state.update < self._last_update():
                evaluation = self._run_epoch()
        finally:
            self.progress.close()
            if self.log is not None:
                self.log.close()
        return evaluation

    def _last_update(self) -> int:
        limit = self.settings.max_steps
        return self.schedule.updates if limit is None else min(limit, self.schedule.updates)

    def _run_epoch(self) -> Evaluation | None:
        start, number = time.monotonic(), self.state.epoch + 1
        self._seed()
        totals = self._train()
        if self.runtime.world_size > 1:
            distribute_bn(self.model, self.runtime.world_size, reduce=True)
        evaluation = self._evaluate() if self._is_evaluated(number) else None
        metrics = EpochMetrics(
            epoch=number,
            update=self.state.update,
            lr=self.schedule.at(self.state.update - 1),
            train_loss=totals.mean_loss,
            val_loss=evaluation.loss if evaluation else None,
            val_top1=evaluation.top1 if evaluation else None,
            val_top5=evaluation.top5 if evaluation else None,
            images_per_second=totals.samples / max(1e-9, totals.seconds),
            seconds=time.monotonic() - start,
        )
        if self.state.update == number * self.schedule.steps_per_epoch:
            self.state.epoch = number
        self._record(metrics, totals)
        if evaluation and not self.settings.skip_unreadable:
            evaluation.require_readable()
        return evaluation

    def _seed(self) -> None:
        """What the network draws depends on seed, epoch and rank, also after a resumption."""
        seed = hash_seed(self.settings.seed, self.state.epoch, self.runtime.rank)
        random.seed(seed)
        torch.manual_seed(seed)

    def _train(self) -> _Totals:
        totals, start = _Totals(), time.monotonic()
        first = self.state.epoch * self.schedule.steps_per_epoch
        self.model.train()
        self.sampler.set_epoch(self.state.epoch)
        self.progress.label = f"epoch {self.state.epoch + 1}/{self.schedule.epochs}"
        batches = iter(self.loader)
        for index in range(self.sampler.steps_per_epoch):
            result = self._update(batches, index)
            totals.add(result)
            self._log_update(result, first + index, totals)
            if self.state.update >= self._last_update():
                break
        totals.seconds = time.monotonic() - start
        return totals

    def _update(self, batches: Iterator[Batch], index: int) -> UpdateResult:
        """The update number `index` of the epoch."""
        loaded = [next(batches) for _ in range(self.sampler.micro_batches(index))]
        unreadable = [image for batch in loaded for image in batch.unreadable]
        micro_batches = [
            self._place(batch, part) for part, batch in enumerate(loaded) if len(batch.targets)
        ]
        if not micro_batches:
            raise InputError(
                f"a whole batch is lost: {describe_unreadable(unreadable)}; mend or remove them"
            )
        lr = self.schedule.at(self.state.update)
        result = self.step.run(micro_batches, lr, len(unreadable))
        self.state.update += 1
        if result.updated:
            self.state.updated += 1
            if self.ema is not None:
                self.ema.update(self.model, step=self.state.updated)
        self._count_unreadable(unreadable, result.unreadable)
        return result

    def _place(self, batch: Batch, part: int) -> MicroBatch:
        images = self.runtime.place_images(batch.images)
        targets = batch.targets.to(self.runtime.device, non_blocking=True)
        if self.mixing is None:
            return images, targets
        return self.mixing(images, targets, self.state.update, part)

    def _count_unreadable(self, own: list[tuple[str, str]], everywhere: int) -> None:
        for name, reason in own:
            print(f"warning: image skipped: {name} ({reason})", flush=True)
        self.state.unreadable += everywhere
        if self.state.unreadable > self.settings.max_unreadable:
            raise InputError(
                f"{self.state.unreadable} training images could not be read, more than "
                f"data.max_unreadable={self.settings.max_unreadable}; the warnings name them"
            )

    def _is_evaluated(self, epoch: int) -> bool:
        is_last = self.state.update >= self._last_update()
        return is_last or epoch % self.settings.eval_every == 0

    def _evaluate(self) -> Evaluation:
        model = self.model if self.ema is None else self.ema.module
        return evaluate(model, self.val_loader, self.num_classes, self.runtime)

    def _log_update(self, result: UpdateResult, update: int, totals: _Totals) -> None:
        mean = result.loss_sum / result.samples
        self.progress.advance(result.samples, f"loss {mean:.4f}  norm {result.grad_norm:.2f}")
        if self.log is not None and update % self.settings.log_every == 0:
            values = {
                "train/loss": mean,
                "train/lr": self.schedule.at(update),
                "train/grad_norm": result.grad_norm,
                "train/skipped": totals.skipped,
            }
            if self.step.scaler.is_enabled():
                values["train/loss_scale"] = self.step.scaler.get_scale()
            self.log.scalars(values, update)

    def _record(self, metrics: EpochMetrics, totals: _Totals) -> None:
        if self.log is None:
            return
        self.store.save(self._checkpoint(metrics), self.state, metrics.val_top1)
        self.log.epoch(metrics)
        self.progress.say(metrics.line())
        if totals.skipped:
            self.progress.say(f"{totals.skipped} updates of this epoch were not finite: skipped")

    def _checkpoint(self, metrics: EpochMetrics) -> dict[str, Any]:
        checkpoint = {
            "format": FORMAT,
            **self.description,
            "state_dict": dict(self.model.state_dict()),
            "metrics": asdict(metrics),
            "versions": versions(),
            "train_state": {
                "optimizer": self.step.optimizer.state_dict(),
                "scaler": self.step.scaler.state_dict(),
                "random": random_states(),
            },
        }
        if self.ema is not None:
            checkpoint["state_dict_ema"] = dict(self.ema.module.state_dict())
        return checkpoint
