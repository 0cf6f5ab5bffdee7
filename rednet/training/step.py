"""One training step: forward, loss, backward, normalise, check, clip, move the weights."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from rednet.runtime import Runtime
from rednet.training.batches import MicroBatch
from rednet.training.clipping import Clipping
from rednet.training.nonfinite import NonFinitePolicy


@dataclass(frozen=True)
class StepResult:
    """Result of one step, over all ranks.

    Attributes:
        loss_sum: Sum of the losses of all samples.
        num_samples: Number of samples.
        grad_norm: Total norm of the gradients before clipping.
        updated: Whether the weights moved.
    """

    loss_sum: float
    num_samples: int
    grad_norm: float
    updated: bool


class TrainStep:
    """Moves the weights along the mean gradient over all samples of all ranks.

    Args:
        model: Network, possibly compiled or wrapped in DistributedDataParallel.
        optimizer: Optimizer of its parameters.
        runtime: Device, precision and processes.
        samples_per_rank: Samples of a full step on one rank, over all micro-batches.
        label_smoothing: Probability spread over all classes, where targets are indices.
        clipping: Limit on the gradients.
        nonfinite: What to do about a loss or gradient that is not finite.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        runtime: Runtime,
        samples_per_rank: int,
        label_smoothing: float = 0.0,
        clipping: Clipping = Clipping(),
        nonfinite: NonFinitePolicy = NonFinitePolicy(),
    ) -> None:
        self.model, self.optimizer, self.runtime = model, optimizer, runtime
        self.samples_per_rank, self.label_smoothing = samples_per_rank, label_smoothing
        self.clipping, self.nonfinite = clipping, nonfinite
        self.scaler = torch.amp.GradScaler(runtime.device.type, enabled=runtime.precision == "fp16")

    def __call__(self, batches: Sequence[MicroBatch], lr: float) -> StepResult:
        """Make one step; the host waits for the device once, in fp16 twice.

        Args:
            batches: Micro-batches of this rank, each with at least one sample.
            lr: Learning rate.

        Raises:
            NonFiniteError: On every rank, before the weights move.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group.get("lr_scale", 1.0)
        self.optimizer.zero_grad(set_to_none=True)

        loss_sum = torch.zeros((), dtype=torch.float64, device=self.runtime.device)
        for index, (images, targets) in enumerate(batches):
            with self._gradient_sync(is_last=index == len(batches) - 1):
                with self.runtime.autocast():
                    logits = self.model(images)
                loss = self._loss(logits, targets)
                self.scaler.scale(loss / self.samples_per_rank).backward()
            loss_sum += loss.detach()

        self.scaler.unscale_(self.optimizer)
        num_samples = sum(len(targets) for _, targets in batches)
        totals = self.runtime.sum(torch.stack([loss_sum, torch.full_like(loss_sum, num_samples)]))
        grads = self._normalise(num_samples, totals[1])
        norm = torch.nn.utils.get_total_norm(grads)

        # The one transfer to the host: the weights must not move before the check.
        loss, count, grad_norm = torch.cat([totals, norm.double()[None]]).tolist()
        updated = self.nonfinite.allows(loss, grad_norm, self.scaler)
        if updated:
            self.clipping(self.model, norm)
            self.scaler.step(self.optimizer)
        self.scaler.update()
        return StepResult(loss, int(count), grad_norm, updated)

    def _gradient_sync(self, *, is_last: bool) -> AbstractContextManager[None]:
        """Let ranks exchange gradients in the last micro-batch only."""
        if isinstance(self.model, DistributedDataParallel) and not is_last:
            return self.model.no_sync()
        return nullcontext()

    def _loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        logits = logits.float() if logits.dtype != torch.float64 else logits
        smoothing = self.label_smoothing if targets.dim() == 1 else 0.0
        return F.cross_entropy(logits, targets, reduction="sum", label_smoothing=smoothing)

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
        """Load optimizer and scaler; learning rate, weight decay and the like stay this run's."""
        settings = [
            {name: value for name, value in group.items() if name != "params"}
            for group in self.optimizer.param_groups
        ]
        self.optimizer.load_state_dict(state["optimizer"])
        for group, own in zip(self.optimizer.param_groups, settings, strict=True):
            group.update(own)
        if state["scaler"]:  # empty where the run was not in fp16 so far
            self.scaler.load_state_dict(state["scaler"])
