"""Learn one batch by heart: what a network without a mistake in its recipe can do."""

import dataclasses
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from timm.layers import DropPath
from torch import Tensor, nn

from rednet.data.seeding import seed_all
from rednet.debugging.job import DebugJob
from rednet.training.batches import MicroBatch
from rednet.training.losses import Loss
from rednet.training.step import StepResult
from rednet.training.trainer import Trainer
from rednet.wording import count

if TYPE_CHECKING:
    from rednet.config import Config

WITHOUT_AUGMENTATION: dict[str, Any] = {
    **{"repeats": 1, "scale": [1.0, 1.0], "ratio": [1.0, 1.0], "hflip": 0.0},
    **{"color_jitter": None, "auto_augment": None, "random_erasing": 0.0},
    **{"mixup": 0.0, "cutmix": 0.0, "label_smoothing": 0.0},
}
DROPPING = (nn.modules.dropout._DropoutNd, DropPath)
TABLE = "overfit.csv"


def run_overfit(job: DebugJob) -> None:
    """Train on one fixed batch until every image of it is classified correctly.

    Raises:
        SystemExit: That was not reached, exit code 1.
    """
    most = job.debug.max_steps or 500
    config = _one_batch(job.config, most)
    splits = job.fewer_images(job.global_batch, job.config.data.val_samples)
    trainer = job.build(config, splits)
    dropping = _drop_nothing(trainer.model)
    trainer.train_step.train(0)
    with trainer.batches.loader:
        (batches,) = trainer.batches.steps_of_epoch(0)
    images = count(trainer.batches.sampler.num_samples, "image")
    job.say(
        f"one batch of {images} at lr {trainer.schedule.lr:g}, constant, without augmentation"
        + (f" and without {count(dropping, 'dropout layer')}" if dropping else "")
    )
    rows, step = _learn(job, trainer, batches, most)
    path = job.write(TABLE, "step,loss,accuracy\n" + "".join(map(_to_csv, rows)))
    _conclude(job, rows, step, str(path))


def _one_batch(config: "Config", epochs: int) -> "Config":
    """Return the configuration with a constant rate and without what makes batches differ."""
    return replace(
        config,
        augment=replace(config.augment, **WITHOUT_AUGMENTATION),
        loss=replace(config.loss, target_threshold=None),
        schedule=replace(
            config.schedule,
            name="constant",
            epochs=epochs,
            warmup_epochs=0.0,
            warmup_start=1.0,
            milestones=None,
            gamma=None,
        ),
        finetune=replace(config.finetune, head_epochs=0),
        trainer=replace(config.trainer, ema_decay=None),
    )


def _drop_nothing(model: nn.Module) -> int:
    """Turn off dropout and stochastic depth; return how many modules have it."""
    number = 0
    for module in model.modules():
        if isinstance(module, DROPPING):
            name = "drop_prob" if isinstance(module, DropPath) else "p"
            number += bool(getattr(module, name))
            setattr(module, name, 0.0)
    if getattr(model, "drop_rate", 0.0):  # timm's classifiers drop by a function
        number += 1
        model.drop_rate = 0.0  # type: ignore[assignment]
    return number


@dataclasses.dataclass
class CountingLoss:
    """A loss that counts the samples whose largest logit is that of their class."""

    loss: Loss
    correct: float = 0.0

    @property
    def class_weights(self) -> Tensor | None:
        """Weights (classes,) of the classes."""
        return self.loss.class_weights

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the sum of the losses of all samples."""
        self.correct += float((logits.argmax(1) == targets).sum())
        return self.loss(logits, targets)


Row = tuple[int, float, float]
"""Step, mean loss, and accuracy in percent."""


def _learn(
    job: DebugJob, trainer: Trainer, batches: list[MicroBatch], most: int
) -> tuple[list[Row], int | None]:
    """Make steps; return a row for each, and the step that reached 100 %, if one did."""
    train_step, rows = trainer.train_step, list[Row]()
    counting = train_step.loss = CountingLoss(train_step.loss)
    for step in range(most):
        seed_all(job.config.seed, step, job.runtime.rank)
        counting.correct = 0.0
        result = train_step(batches, trainer.schedule.lr)
        correct = float(job.runtime.sum(torch.tensor([counting.correct], device=_device(job))))
        rows.append((step, result.mean_loss, 100 * correct / result.num_samples))
        is_done = correct == result.num_samples
        if is_done or _is_told(step) or step == most - 1:
            job.say(f"step {step:4d}  loss {rows[-1][1]:.4f}  accuracy {rows[-1][2]:6.2f} %")
        _require_finite(job, result, step)
        if is_done:
            return rows, step
    return rows, None


def _device(job: DebugJob) -> torch.device:
    return job.runtime.device


def _is_told(step: int) -> bool:
    """Return whether a step is 0, 1, 2, 5, 10, 20, 50 and so on."""
    return step == 0 or step / 10 ** math.floor(math.log10(step)) in (1, 2, 5)


def _require_finite(job: DebugJob, result: StepResult, step: int) -> None:
    """Require a finite loss and gradient; in fp16 the scaler may skip a few of the first steps."""
    is_overflow = job.config.trainer.precision == "fp16" and math.isfinite(result.loss_sum)
    if result.updated or is_overflow:
        return
    what = f"the loss is {result.mean_loss}"
    if math.isfinite(result.loss_sum):
        what = f"the gradient norm is {result.grad_norm}"
    job.fail(f"{what} after {count(step, 'step')} on one batch; debug=nan names the layer")


def _to_csv(row: Row) -> str:
    step, loss, accuracy = row
    return f"{step},{loss:.6g},{accuracy:.6g}\n"


def _conclude(job: DebugJob, rows: list[Row], reached: int | None, path: str) -> None:
    trend = f"the loss went from {rows[0][1]:.4f} to {rows[-1][1]:.4f}; every step is in {path}"
    if reached is not None:
        job.say(f"debug=overfit: ok, 100 % of the batch after {count(reached, 'step')}; {trend}")
        return
    best = max(accuracy for _, _, accuracy in rows)
    job.fail(
        f"one batch was not learnt by heart in {count(len(rows), 'step')}: at best {best:.2f} %, "
        f"{trend}. {_advise(rows)}"
    )


def _advise(rows: list[Row]) -> str:
    """Return what to look at, from the course of the loss."""
    quarter = max(1, len(rows) // 4)
    before = sum(loss for _, loss, _ in rows[-2 * quarter : -quarter] or rows) / quarter
    after = sum(loss for _, loss, _ in rows[-quarter:]) / quarter
    if after < 0.98 * before:
        return "It still falls: give it more by debug.max_steps=N, or a larger optimizer.lr"
    if after > rows[0][1]:
        return "It is above the first: a smaller optimizer.lr, or trainer.clip_grad"
    return "It stands still: look at the labels, at frozen parts, and at optimizer.lr"
