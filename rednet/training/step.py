"""One training step: forward, loss, backward, normalise, check, clip, move the weights."""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from rednet.ranks.pulse import PULSE
from rednet.runtime import Runtime
from rednet.training.batches import MicroBatch
from rednet.training.buffers import SavedBuffers
from rednet.training.clipping import Clipping
from rednet.training.freezing import Freezing
from rednet.training.losses import CrossEntropy, Loss
from rednet.training.stand_in import frozen_statistics


@dataclass(frozen=True)
class StepResult:
    """Result of one step, over all ranks.

    Attributes:
        loss_sum: Sum of the losses of all samples.
        num_samples: Number of samples.
        grad_norm: Total norm of the gradients before clipping.
        updated: Whether the weights moved, which they do if loss and norm are finite.
        counts: Sums over ranks of the numbers that the caller passed.
        is_suspect: Whether this rank is a reason why the weights have not moved: its own loss is
            not finite, or all losses are finite but a gradient is not.
        gave_up: Whether a rank has no images any more, in which case nothing has changed.
    """

    loss_sum: float
    num_samples: int
    grad_norm: float
    updated: bool
    counts: tuple[int, ...] = ()
    is_suspect: bool = False
    gave_up: bool = False

    @property
    def mean_loss(self) -> float:
        """Mean loss of the samples, not a number if there are none."""
        return self.loss_sum / self.num_samples if self.num_samples else math.nan


class TrainStep:
    """Moves the weights along the mean gradient over all samples of all ranks.

    Args:
        model: Network, possibly compiled or wrapped in DistributedDataParallel.
        optimizer: Optimizer of its parameters.
        runtime: Device, precision and processes.
        samples_per_rank: Samples of a full step on one rank, over all micro-batches.
        loss: Loss of logits and targets.
        clipping: Limit on the gradients.
        freezing: Parts of the network that do not train, if any.
        parallel: Compiles and wraps the network again, when other parameters train than before.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        runtime: Runtime,
        samples_per_rank: int,
        loss: Loss = CrossEntropy(),
        clipping: Clipping = Clipping(),
        freezing: Freezing | None = None,
        parallel: Callable[[], nn.Module] | None = None,
    ) -> None:
        self.model, self.optimizer, self.runtime = model, optimizer, runtime
        self.samples_per_rank, self.loss, self.clipping = samples_per_rank, loss, clipping
        self.freezing, self.parallel = freezing, parallel
        self.is_compiled = hasattr(getattr(model, "module", model), "_orig_mod")
        self.buffers = SavedBuffers(model, runtime)
        self.scaler = torch.amp.GradScaler(runtime.device.type, enabled=runtime.precision == "fp16")

    def __call__(
        self, batches: Sequence[MicroBatch], lr: float, counts: Sequence[int] = ()
    ) -> StepResult:
        """Make one step; the host waits for the device once, in fp16 twice.

        A loss or gradient that is not finite leaves weights and buffers unchanged, on every rank.
        So does a step without any sample, or in which a rank has no images any more.

        Args:
            batches: Micro-batches of this rank, as many as on every other.
            lr: Learning rate.
            counts: Numbers of this rank to add up over ranks together with the loss.
        """
        with PULSE.waiting(patient=self.is_compiled):
            return self._step(batches, lr, counts)

    def _step(self, batches: Sequence[MicroBatch], lr: float, counts: Sequence[int]) -> StepResult:
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group.get("lr_scale", 1.0)
        self.optimizer.zero_grad(set_to_none=True)
        self.buffers.save()

        loss_sum = torch.zeros((), dtype=torch.float64, device=self.runtime.device)
        for index, batch in enumerate(batches):
            sync = self._gradient_sync(is_last=index == len(batches) - 1)
            with sync, self._statistics(batch):
                loss = self.loss_of(batch, self.model)
                self.scaler.scale(loss / self.samples_per_rank).backward()
            loss_sum += loss.detach()

        self.scaler.unscale_(self.optimizer)
        num_samples = sum(len(batch.targets) for batch in batches)
        gives_up = any(batch.failure for batch in batches)
        numbers = [torch.full_like(loss_sum, n) for n in (num_samples, *counts, int(gives_up))]
        totals = self.runtime.sum(torch.stack([loss_sum, *numbers]))
        grads = self._normalise(num_samples, totals[1])
        norm = torch.nn.utils.get_total_norm(grads)

        # The one transfer to the host: the weights must not move before the check.
        loss, count, *sums, gave_up, grad_norm = torch.cat([totals, norm.double()[None]]).tolist()
        if gave_up:
            self.buffers.restore()
            return StepResult(loss, int(count), grad_norm, updated=False, gave_up=True)
        updated = count > 0 and math.isfinite(loss) and math.isfinite(grad_norm)
        if updated:
            self.clipping(self.model, norm)
            self.scaler.step(self.optimizer)
        else:
            self.buffers.restore()
        self.scaler.update()
        is_suspect = (
            not updated
            and count > 0
            and (math.isfinite(loss) or not math.isfinite(loss_sum.item()))
        )
        return StepResult(
            loss, int(count), grad_norm, updated, tuple(map(int, sums)), is_suspect=is_suspect
        )

    def loss_of(self, batch: MicroBatch, model: nn.Module) -> Tensor:
        """Return the sum of the losses of a micro-batch's samples."""
        with self.runtime.autocast():
            logits = model(batch.images)[: len(batch.targets)]
        logits = logits.float() if logits.dtype != torch.float64 else logits
        return self.loss(logits, batch.targets)

    def train(self, epoch: int) -> None:
        """Enter training mode; freeze what does not train in an epoch, counted from 0."""
        if self.freezing is not None and self.freezing.apply(epoch):
            self.optimizer.zero_grad(set_to_none=True)  # of those that no longer train
            if self.parallel is not None:
                # DistributedDataParallel waits for the gradients of all that trained when it was
                # built.
                self.model = self.parallel()
        self.model.train()

    def _gradient_sync(self, *, is_last: bool) -> AbstractContextManager[None]:
        """Let ranks exchange gradients in the last micro-batch only."""
        if isinstance(self.model, DistributedDataParallel) and not is_last:
            return self.model.no_sync()
        return nullcontext()

    def _statistics(self, batch: MicroBatch) -> AbstractContextManager[None]:
        """Let a batch without samples leave no trace in the buffers."""
        return nullcontext() if len(batch.targets) else frozen_statistics(self.model)

    def _normalise(self, num_samples: int, total_samples: Tensor) -> list[Tensor]:
        """Turn the gradients into those of the mean loss over all ranks; return them.

        The backward pass divided by the samples of a full step, and DistributedDataParallel by the
        number of ranks; a step at an epoch's end, or with unreadable images, has fewer samples.
        """
        grads = [p.grad for p in self.model.parameters() if p.grad is not None]
        world_size = self.runtime.world_size
        if world_size > 1 or num_samples != self.samples_per_rank:
            torch._foreach_mul_(grads, self.samples_per_rank * world_size / total_samples)
        return grads

    def state_dict(self) -> dict[str, Any]:
        """Return the state of optimizer and gradient scaler."""
        return {"optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load optimizer and scaler; weight decay and the like stay this run's.

        So does the learning rate, which every step sets. Until then it is that of the last step, as
        in a run that was not interrupted.
        """
        settings = [
            {name: value for name, value in group.items() if name not in ("params", "lr")}
            for group in self.optimizer.param_groups
        ]
        self.optimizer.load_state_dict(state["optimizer"])
        for group, own in zip(self.optimizer.param_groups, settings, strict=True):
            group.update(own)
        if state["scaler"]:  # empty where the run was not in fp16 so far
            self.scaler.load_state_dict(state["scaler"])
