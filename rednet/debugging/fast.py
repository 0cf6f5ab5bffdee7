"""The whole pipeline in miniature: train, save, resume, evaluate, log, read what was saved."""

import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from rednet.build.inference import restore_network
from rednet.build.resuming import find_checkpoint, resume
from rednet.data import Preprocessing
from rednet.debugging.job import DebugJob
from rednet.evaluation import Evaluation, evaluate
from rednet.plots import draw_curves
from rednet.training.metrics import read_metrics
from rednet.training.trainer import Trainer
from rednet.weights import read_checkpoint
from rednet.wording import count

if TYPE_CHECKING:
    from rednet.config import Config

STEPS = 2
"""Steps of the miniature; a checkpoint and a resumption lie between them."""


def run_fast(job: DebugJob) -> None:
    """Run every part of the pipeline once, and say of each that it works.

    Raises:
        SystemExit: What was saved is not what is read; exit code 1.
    """
    start = time.monotonic()
    batch = job.config.data.batch_size * job.runtime.world_size
    splits = job.fewer_images(STEPS * job.global_batch, batch)
    first = job.build(_until(job.config, 1), splits)
    job.print_setup(first, job.config)
    first.fit()
    _ok(job, f"trained {_step(first)} and saved it")

    second = job.build(_until(job.config, STEPS), splits)
    checkpoint = job.runtime.on_primary(lambda: find_checkpoint(job.config, job.folder))
    if checkpoint is None:
        job.fail(f"no checkpoint was written to {job.folder}")
    resume(second, checkpoint)
    _require_equal(job, first, second)
    evaluation = second.fit()
    _ok(job, f"resumed with equal weights and optimizer, trained {_step(second)}")
    if evaluation is None:  # the data have one step, and the schedule one epoch
        evaluation = second.evaluate()
    images = count(evaluation.samples, "validation image")
    _ok(job, f"evaluated {images}: loss {evaluation.loss:.4f}, top-1 {evaluation.top1:.2f} %")
    _read_again(job, second, evaluation)
    _check_log(job)
    job.say(f"debug=fast: ok in {time.monotonic() - start:.1f} s; all of it is in {job.folder}")


def _until(config: "Config", steps: int) -> "Config":
    """Return the configuration of a run of few steps that evaluates and logs each."""
    trainer = replace(
        config.trainer, max_steps=steps, eval_every=1, log_every=1, early_stopping=None
    )
    return replace(config, trainer=trainer, resume="auto")


def _ok(job: DebugJob, what: str) -> None:
    job.say(f"ok  {what}")


def _step(trainer: Trainer) -> str:
    images = count(trainer.batches.images_before(trainer.counters.global_step), "image")
    return f"step {trainer.counters.global_step} ({images} so far)"


def _require_equal(job: DebugJob, first: Trainer, second: Trainer) -> None:
    """Require that a run that was resumed has the tensors of the one that was saved."""
    before, after = (_tensors(trainer) for trainer in (first, second))
    for name, tensor in before.items():
        if name not in after or not torch.equal(tensor, after[name]):
            job.fail(f"{name} is another one after the run was resumed")


def _tensors(trainer: Trainer) -> dict[str, torch.Tensor]:
    optimizer = trainer.train_step.optimizer.state_dict()["state"]
    states = {
        f"optimizer state {index}.{name}": value
        for index, state in optimizer.items()
        for name, value in state.items()
        if isinstance(value, torch.Tensor)
    }
    return {**trainer.model.state_dict(), **states}


def _read_again(job: DebugJob, trainer: Trainer, evaluation: Evaluation) -> None:
    """Evaluate the last checkpoint as `evaluate` does."""
    saved = job.runtime.on_primary(lambda: read_checkpoint(trainer.saver.store.last))
    preprocessing = Preprocessing(**saved.content["preprocessing"])
    model = restore_network(saved, preprocessing, job.runtime, job.config.trainer)
    with trainer.val_loader as loader:
        found = evaluate(model, loader, trainer.num_classes, job.runtime)
    if not math.isclose(found.loss, evaluation.loss, rel_tol=1e-3):
        job.fail(
            f"the checkpoint {saved.path} has a validation loss of {found.loss:.4f}, the network "
            f"in memory {evaluation.loss:.4f}"
        )
    _ok(job, f"read {saved.path} as evaluate does: loss {found.loss:.4f}")


def _check_log(job: DebugJob) -> None:
    if not job.runtime.is_primary:
        return
    rows = read_metrics(job.folder)
    draw_curves(rows, job.folder / "curves.png", "debug=fast")
    files = ["metrics.jsonl", "curves.png"]
    if "tensorboard" in job.config.logger:
        files.append("tensorboard/events.*")
    if missing := [file for file in files if not list(job.folder.glob(file))]:
        job.fail(f"{job.folder} has no {', '.join(missing)}")
    _ok(job, f"wrote {', '.join(files)}")
