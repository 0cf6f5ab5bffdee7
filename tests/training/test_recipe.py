"""The paper's recipe: our steps against a transcription of it in plain PyTorch.

`Transcription` is written from the published configuration (batch 2048, cosine, 130 epochs) and
what its framework did with it, and uses nothing of `rednet.training`. The images, and the loop
that asks for rates, are the run's own.
"""

import copy
import math
from contextlib import suppress

import pytest
import torch
from torch import Tensor, nn

from rednet.build.optimizer import scaled_lr
from rednet.build.training import build_schedule, build_trainer
from rednet.config import compose
from rednet.data import TrainSampler
from rednet.runtime import Runtime
from rednet.training.nonfinite import NonFiniteError
from rednet.training.step import TrainStep

EPOCHS, STEPS_PER_EPOCH, WARMUP_EPOCHS, BATCH = 6, 5, 2, 8
SMALL = [
    *("model=rednet26", "model.options.width=0.125", "model.options.stem=small"),
    *("model.options.layers=[1,1,1,1]", "data=fashion_mnist", "data.num_workers=0"),
    *(f"data.batch_size={BATCH}", f"data.train_samples={BATCH * STEPS_PER_EPOCH}"),
    *(f"schedule.epochs={EPOCHS}", f"schedule.warmup_epochs={WARMUP_EPOCHS}"),
    *("data.image_size=16", "data.val_samples=10", "trainer.device=cpu"),
    "optimizer.lr_base_size=null",
]


def published_lr(step: int, top: float, epochs: int, steps_per_epoch: int, warmup: int):
    """Cosine by whole epochs; in the warm-up a part of it that rises from a quarter to all."""
    regular = top / 2 * (1 + math.cos(math.pi * (step // steps_per_epoch) / epochs))
    if step >= warmup:
        return regular
    return regular * (1 - (1 - step / warmup) * (1 - 0.25))


class Transcription:
    """Label smoothing, decay of every parameter, Nesterov momentum, and nothing else."""

    def __init__(self, model: nn.Module):
        self.model = model
        self.velocities = [torch.zeros_like(p) for p in model.parameters()]

    def step(self, images: Tensor, targets: Tensor, lr: float) -> float:
        logits = self.model(images)
        classes = logits.shape[1]
        wanted = torch.full_like(logits, 0.1 / classes)
        wanted[range(len(targets)), targets] = 1 - 0.1 + 0.1 / classes
        loss = -(wanted * logits.log_softmax(1)).sum(1).mean()
        parameters = list(self.model.parameters())
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for parameter, gradient, velocity in zip(
                parameters, gradients, self.velocities, strict=True
            ):
                gradient = gradient + 1e-4 * parameter
                velocity.mul_(0.9).add_(gradient)
                parameter -= lr * (gradient + 0.9 * velocity)
        return loss.item()

    def take_over(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.model.load_state_dict(model.state_dict())
        for velocity, parameter in zip(self.velocities, model.parameters(), strict=True):
            buffer = optimizer.state[parameter].get("momentum_buffer")
            velocity.zero_() if buffer is None else velocity.copy_(buffer)


@pytest.fixture
def losses_of_both(tmp_path, monkeypatch):
    """Returns a function that runs the paper's recipe, and its transcription at every step."""

    def run(lr: float, *, synchronised: bool) -> list[tuple[float, float]]:
        settings = [f"optimizer.lr={lr}", f"trainer.eval_every={EPOCHS}"]
        config = compose("train", ["experiment=paper", *settings, *SMALL])
        trainer = build_trainer(config, Runtime(precision="fp64"), tmp_path)
        for block in trainer.model.modules():  # no block a bare shortcut, or little is tested
            if hasattr(block, "bn3"):
                nn.init.constant_(block.bn3.weight, 0.5)
        oracle = Transcription(copy.deepcopy(trainer.model).train())
        losses = []
        train_step = TrainStep.__call__

        def both(self, batches, current_lr, counts):
            if synchronised:
                oracle.take_over(trainer.model, self.optimizer)
            result = train_step(self, batches, current_lr, counts)
            (batch,) = batches
            warmup = WARMUP_EPOCHS * STEPS_PER_EPOCH
            rate = published_lr(len(losses), lr, EPOCHS, STEPS_PER_EPOCH, warmup)
            theirs = oracle.step(batch.images, batch.targets, rate)
            losses.append((result.loss_sum / result.num_samples, theirs))
            return result

        monkeypatch.setattr(TrainStep, "__call__", both)
        with suppress(NonFiniteError):  # of the evaluation at the end, at the highest rate
            trainer.fit()
        for ours, theirs in zip(trainer.model.parameters(), oracle.model.parameters(), strict=True):
            assert ours.dtype == torch.float64
            torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-9)
        return losses

    return run


def test_30_steps_give_the_losses_of_the_recipe(losses_of_both):
    losses = losses_of_both(0.003, synchronised=False)
    assert len(losses) == 30
    assert max(abs(ours - theirs) for ours, theirs in losses) < 1e-10
    assert len({round(loss, 6) for loss, _ in losses}) == 30


@pytest.mark.parametrize("lr", [pytest.param(0.05, marks=pytest.mark.nightly), 0.8])
def test_at_high_rates_each_step_gives_the_loss_of_the_recipe(lr, losses_of_both):
    """Rounding grows a millionfold in ten steps, so both start each from equal weights."""
    losses = losses_of_both(lr, synchronised=True)
    assert len(losses) == 30
    assert max(abs(ours - theirs) / theirs for ours, theirs in losses) < 1e-10


def test_the_learning_rate_of_every_step_of_the_paper():
    config = compose("train", ["experiment=paper"])
    sampler = TrainSampler(1_281_167, config.data.batch_size, world_size=64)
    lr = scaled_lr(config.optimizer, sampler.global_batch)
    schedule = build_schedule(config.schedule, lr, sampler.steps_per_epoch)
    assert schedule.total_steps == 130 * 626
    for step in range(schedule.total_steps):
        assert schedule.lr_at(step) == pytest.approx(
            published_lr(step, 0.8, 130, 626, 3130), rel=1e-15
        )
