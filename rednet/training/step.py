"""One update of the weights: forward, loss, backward, check, clip, update."""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from timm.models import model_parameters
from timm.utils import adaptive_clip_grad
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from rednet.errors import InputError
from rednet.runtime import Runtime

MicroBatch = tuple[Tensor, Tensor]
"""Images (n, C, H, W) on the device and targets: indices (n,) or probabilities (n, classes)."""


class NonFiniteError(InputError):
    """The loss or a gradient is not a number any more; the weights have not moved."""


@dataclass(frozen=True)
class Clipping:
    """How gradients are limited before an update.

    Attributes:
        limit: The largest norm, value, or ratio of gradient to weight; None limits nothing.
        mode: "norm" (of all gradients), "value" or "agc" (per unit, without the classifier).
    """

    limit: float | None = None
    mode: str = "norm"

    def apply(self, model: nn.Module, norm: Tensor) -> None:
        """Limits the gradients of a network, given their total norm."""
        if self.limit is None:
            return
        if self.mode == "norm":
            torch.nn.utils.clip_grads_with_norm_(model.parameters(), self.limit, norm)
        elif self.mode == "value":
            torch.nn.utils.clip_grad_value_(model.parameters(), self.limit)
        else:
            adaptive_clip_grad(model_parameters(model, exclude_head=True), self.limit)


@dataclass(frozen=True)
class UpdateResult:
    """What an update saw, over all ranks.

    Attributes:
        loss_sum: Sum of the losses of its samples.
        samples: How many they were.
        unreadable: How many more there would have been.
        grad_norm: Total norm of the gradients before clipping; not finite where none was made.
        updated: Whether the weights have moved.
    """

    loss_sum: float
    samples: int
    unreadable: int
    grad_norm: float
    updated: bool


class UpdateStep:
    """Makes updates: the mean gradient over all samples of all micro-batches and ranks.

    Args:
        model: The network, possibly compiled or wrapped for several processes.
        optimizer: Of its parameters.
        runtime: Where and how to compute.
        samples: Samples of a full update on one rank.
        label_smoothing: For targets that are class indices.
        clipping: Of the gradients.
        on_nonfinite: "raise", or "skip" the update, where a loss or gradient is not finite.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        runtime: Runtime,
        samples: int,
        label_smoothing: float = 0.0,
        clipping: Clipping = Clipping(),
        on_nonfinite: str = "raise",
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.runtime = runtime
        self.samples = samples
        self.label_smoothing = label_smoothing
        self.clipping = clipping
        self.on_nonfinite = on_nonfinite
        self.scaler = torch.amp.GradScaler(runtime.device.type, enabled=runtime.precision == "fp16")

    def run(self, batches: Sequence[MicroBatch], lr: float, unreadable: int = 0) -> UpdateResult:
        """One update from this rank's micro-batches.

        Args:
            batches: At least one sample on every rank.
            lr: Learning rate.
            unreadable: Samples of this rank that are missing.

        Raises:
            NonFiniteError: On every rank, before the weights move.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group.get("lr_scale", 1.0)
        self.optimizer.zero_grad(set_to_none=True)
        loss_sum = self._accumulate(batches)
        local = [float(loss_sum), sum(len(targets) for _, targets in batches), unreadable]
        totals = torch.tensor(local, dtype=torch.float64, device=self.runtime.device)
        loss, samples, missing = self.runtime.sum(totals).tolist()
        norm = self._unscale(samples)
        updated = self._update(loss, norm)
        return UpdateResult(loss, int(samples), int(missing), float(norm), updated)

    def _accumulate(self, batches: Sequence[MicroBatch]) -> Tensor:
        """Adds up gradients of sum / `samples`; returns the sum of the losses."""
        total = torch.zeros((), dtype=torch.float64, device=self.runtime.device)
        for index, (images, targets) in enumerate(batches):
            with self._synchronised(index == len(batches) - 1):
                with self.runtime.autocast():
                    output = self.model(images)
                loss = self._loss(output, targets)
                self.scaler.scale(loss / self.samples).backward()
            total += loss.detach()
        return total

    def _loss(self, output: Tensor, targets: Tensor) -> Tensor:
        output = output.float() if output.dtype != torch.float64 else output
        smoothing = self.label_smoothing if targets.dim() == 1 else 0.0
        return F.cross_entropy(output, targets, reduction="sum", label_smoothing=smoothing)

    def _synchronised(self, last: bool) -> AbstractContextManager[None]:
        if isinstance(self.model, DistributedDataParallel) and not last:
            return self.model.no_sync()
        return nullcontext()

    def _unscale(self, samples: float) -> Tensor:
        """Makes the gradients those of the mean over all samples; returns their total norm."""
        self.scaler.unscale_(self.optimizer)
        grads = [p.grad for p in self.model.parameters() if p.grad is not None]
        factor = self.samples * self.runtime.world_size / samples
        if factor != 1:
            torch._foreach_mul_(grads, factor)
        return torch.nn.utils.get_total_norm(grads)

    def _update(self, loss: float, norm: Tensor) -> bool:
        finite = math.isfinite(loss) and bool(norm.isfinite())
        if not finite and self.on_nonfinite == "raise" and self._is_fatal(loss):
            raise NonFiniteError(_explain(loss, float(norm), self.scaler))
        if finite:
            self.clipping.apply(self.model, norm)
            self.scaler.step(self.optimizer)
        self.scaler.update()
        return finite

    def _is_fatal(self, loss: float) -> bool:
        """Whether it is more than an overflow in half precision, which a smaller scale mends."""
        overflow = self.scaler.is_enabled() and math.isfinite(loss)
        return not overflow or self.scaler.get_scale() < 1


def _explain(loss: float, norm: float, scaler: torch.amp.GradScaler) -> str:
    what = f"the loss is {loss}" if not math.isfinite(loss) else f"the gradient's norm is {norm}"
    if scaler.is_enabled() and math.isfinite(loss):
        what += f" at a loss scale of {scaler.get_scale():g}"
    return (
        f"{what}; the weights have not moved. Lower optimizer.lr, set trainer.clip_grad, "
        "or let trainer.on_nonfinite=skip pass over such updates"
    )
