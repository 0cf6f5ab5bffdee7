"""The paper's recipe: our updates against a transcription of it in plain PyTorch.

`Transcription` is written from the published configuration (batch 2048, cosine, 130 epochs) and
what its framework did with it, and uses nothing of `rednet.training`.
"""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from rednet.assembly.training import build_schedule, build_trainer
from rednet.config import compose
from rednet.runtime import Runtime

EPOCHS, UPDATES_PER_EPOCH, WARMUP_EPOCHS, BATCH = 6, 5, 2, 8
UPDATES = EPOCHS * UPDATES_PER_EPOCH
SMALL = [
    *("model=rednet26", "model.options.width=0.25", "model.options.stem=small"),
    *("model.options.layers=[1,1,1,1]", "data=fashion_mnist", "data.num_workers=0"),
    *(f"data.batch_size={BATCH}", f"data.train_samples={BATCH * UPDATES_PER_EPOCH}"),
    *(f"schedule.epochs={EPOCHS}", f"schedule.warmup_epochs={WARMUP_EPOCHS}"),
    *("data.val_samples=10", "optimizer.reference_batch=null", "trainer.device=cpu"),
]


def published_lr(update: int, top: float, epochs: int, updates_per_epoch: int, warmup: int):
    """Cosine by whole epochs; in the warm-up a part of it that rises from a quarter to all."""
    regular = top / 2 * (1 + math.cos(math.pi * (update // updates_per_epoch) / epochs))
    if update >= warmup:
        return regular
    return regular * (1 - (1 - update / warmup) * (1 - 0.25))


class Transcription:
    """Label smoothing, decay of every parameter, Nesterov momentum, and nothing else."""

    def __init__(self, model: nn.Module):
        self.model = model
        self.velocities = [torch.zeros_like(p) for p in model.parameters()]

    def update(self, images: Tensor, targets: Tensor, lr: float) -> float:
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
def build(tmp_path):
    """Returns a function that makes the paper's run at another rate, in float64."""

    def make(lr: float):
        config = compose("train", ["experiment=paper", f"optimizer.lr={lr}", *SMALL])
        trainer = build_trainer(config, Runtime(), tmp_path)
        trainer.model.double().train()
        for block in trainer.model.modules():  # no block a bare shortcut, or little is tested
            if hasattr(block, "bn3"):
                nn.init.constant_(block.bn3.weight, 0.5)
        return trainer

    return make


def batches(count: int):
    generator = torch.Generator().manual_seed(0)
    for _ in range(count):
        images = torch.randn(BATCH, 1, 28, 28, dtype=torch.float64, generator=generator)
        yield images, torch.randint(10, (BATCH,), generator=generator)


def losses_of_both(trainer, *, synchronised: bool):
    oracle = Transcription(copy.deepcopy(trainer.model))
    for update, (images, targets) in enumerate(batches(UPDATES)):
        if synchronised:
            oracle.take_over(trainer.model, trainer.step.optimizer)
        rate = published_lr(
            update,
            trainer.schedule.lr,
            EPOCHS,
            UPDATES_PER_EPOCH,
            WARMUP_EPOCHS * UPDATES_PER_EPOCH,
        )
        result = trainer.step.run([(images, targets)], trainer.schedule.at(update))
        yield result.loss_sum / result.samples, oracle.update(images, targets, rate)
    for ours, theirs in zip(trainer.model.parameters(), oracle.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-9)


def test_30_updates_give_the_losses_of_the_recipe(build):
    losses = list(losses_of_both(build(lr=0.003), synchronised=False))
    assert len(losses) == 30
    assert max(abs(ours - theirs) for ours, theirs in losses) < 1e-10
    assert len({round(loss, 6) for loss, _ in losses}) == 30


@pytest.mark.parametrize("lr", [0.05, 0.8])
def test_at_high_rates_each_update_gives_the_loss_of_the_recipe(lr, build):
    """Rounding grows a millionfold in ten updates, so both start each from equal weights."""
    losses = list(losses_of_both(build(lr), synchronised=True))
    assert max(abs(ours - theirs) / theirs for ours, theirs in losses) < 1e-10


def test_the_learning_rate_of_every_update_of_the_paper():
    config = compose("train", ["experiment=paper"])
    schedule = build_schedule(config.schedule, config.optimizer.lr, updates_per_epoch=626)
    assert schedule.updates == 130 * 626
    for update in range(schedule.updates):
        assert schedule.at(update) == pytest.approx(
            published_lr(update, 0.8, 130, 626, 3130), rel=1e-15
        )
