"""Train until a value is not finite, and name the layer where it arises."""

import random
from dataclasses import replace
from typing import Any

import torch

from rednet.build.resuming import resume
from rednet.data.seeding import seed_all
from rednet.debugging.finite import (
    describe,
    guilty_images,
    is_finite,
    nonfinite_tensors,
    optimizer_names,
)
from rednet.debugging.forward_watch import ForwardWatch
from rednet.debugging.job import DebugJob
from rednet.debugging.replay import find_origin
from rednet.training.nonfinite import FailedStep, NonFiniteError, NonFinitePolicy
from rednet.training.step import StepResult
from rednet.training.trainer import Trainer
from rednet.wording import count, join_names

REPORT = "nan.txt"


class NonFiniteFound(NonFiniteError):
    """A value is not finite; the message says where it arises."""


class NamingPolicy(NonFinitePolicy):
    """Ends a run at the first value that is not finite, and says where it arises.

    Weights and buffers are looked at after every step.

    Args:
        trainer: The trainer whose policy it is.
    """

    def __init__(self, trainer: Trainer) -> None:
        super().__init__(trainer.nonfinite.folder, trainer.runtime.rank)
        self.trainer = trainer
        self.spoilt: list[str] = []

    def is_failure(self, result: StepResult, scaler: torch.amp.GradScaler) -> bool:
        """Return whether a step failed, or has left weights or buffers that are not finite."""
        if result.updated:
            model, optimizer = self.trainer.model, self.trainer.train_step.optimizer
            self.spoilt = nonfinite_tensors(model) + optimizer_names(optimizer, model)
        return bool(self.spoilt) or super().is_failure(result, scaler)

    def handle(self, failure: FailedStep) -> None:
        """Report where the value arises, once for all processes.

        Raises:
            NonFiniteFound: Always.
        """
        lines = self._after_step(failure) if self.spoilt else self._in_step(failure)
        rank, runtime = self.trainer.runtime.rank, self.trainer.runtime
        if failure.result.is_suspect or self.spoilt:
            failure.report(self.folder, rank, **self._state(failure.step))
        found = runtime.gather((failure.result.is_suspect, lines))
        others = [lines for _, lines in found]
        first = next((lines for is_suspect, lines in found if is_suspect), others[0])
        raise NonFiniteFound(*first)

    def _after_step(self, failure: FailedStep) -> list[str]:
        """Return the report on a step that was finite itself."""
        optimizer = type(self.trainer.train_step.optimizer).__name__
        result = failure.result
        where = f"the optimizer ({optimizer})"
        if all(name.startswith("buffer ") for name in self.spoilt):
            where = "the forward pass"
        return [
            f"step {failure.step + 1} (learning rate {failure.lr:g}): loss "
            f"{result.mean_loss:.6g} and gradient norm {result.grad_norm:.6g} are finite",
            f"first value that is not finite: made by {where}: {join_names(self.spoilt)}",
        ]

    def _in_step(self, failure: FailedStep) -> list[str]:
        """Return the report on a step whose loss or gradient is not finite."""
        lines = [str(failure)]
        if bad := nonfinite_tensors(self.trainer.model):
            where = "the weights that the run starts from"
            lines.append(f"not finite before the step, in {where}: {join_names(bad)}")
        finding = find_origin(self.trainer, failure)
        return [*lines, f"first value that is not finite: {finding}"]

    def _state(self, step: int) -> dict[str, Any]:
        """Return what it takes to make the step again, apart from its batches."""
        trainer = self.trainer
        seed_all(trainer.settings.seed, step, trainer.runtime.rank)
        return {
            "seed": trainer.settings.seed,
            "state_dict": trainer.model.state_dict(),
            "optimizer": trainer.train_step.optimizer.state_dict(),
            "rng": {"torch": torch.get_rng_state(), "python": random.getstate()},
        }


def run_nan(job: DebugJob) -> None:
    """Train until a value is not finite.

    Raises:
        SystemExit: There is one; exit code 1.
    """
    trainer = job.build(replace(job.config, trainer=replace(job.config.trainer, ema_decay=None)))
    if job.checkpoint is not None:
        resume(trainer, job.checkpoint, force=True)
    trainer.nonfinite = NamingPolicy(trainer)
    job.print_setup(trainer, job.config)
    begin = trainer.counters.global_step
    try:
        trainer.fit()
    except NonFiniteFound as found:
        _report(job, str(found).split("\n"))
    except NonFiniteError as error:
        found_by_rank = job.runtime.gather(_look_at_evaluation(trainer))
        _report(job, [str(error), *next(filter(None, found_by_rank), [])])
    steps = count(trainer.counters.global_step - begin, "step")
    job.say(f"debug=nan: ok, every value was finite in {steps}")


def _report(job: DebugJob, lines: list[str]) -> None:
    path = job.write(REPORT, "".join(f"{line}\n" for line in lines))
    for line in lines[:-1]:
        job.say(line)
    job.fail(f"{lines[-1]}; this report is in {path}")


def _look_at_evaluation(trainer: Trainer) -> list[str]:
    """Return where the first value that is not finite arises in an evaluation."""
    model, runtime = trainer.model.eval(), trainer.runtime
    source = trainer.val_loader.dataset.source
    with ForwardWatch(model).watching() as watch, trainer.val_loader as loader, torch.no_grad():
        for batch in loader:
            images = runtime.place_images(batch.images, batch.normalization)
            names = [source.name_of(index) for index in batch.indices.tolist()]
            if not is_finite(images):
                return [f"the input: {describe(images)}, {guilty_images(images, names)}"]
            with runtime.autocast():
                model(images)
            if watch.finding is not None:
                which = guilty_images(watch.finding.value, names)
                return [f"first value that is not finite: {watch.finding}; {which}"]
    return []
