"""Make a failed step once more, and look at every layer."""

import math
import warnings
from collections.abc import Sequence

import torch
from torch import nn

from rednet.data.seeding import seed_all
from rednet.debugging.backward_watch import BackwardWatch
from rednet.debugging.finite import describe, guilty_images, is_finite, nonfinite_names
from rednet.debugging.forward_watch import Finding, ForwardWatch
from rednet.training.batches import MicroBatch
from rednet.training.nonfinite import FailedStep
from rednet.training.stand_in import frozen_statistics
from rednet.training.trainer import Trainer
from rednet.wording import join_names


def find_origin(trainer: Trainer, failure: FailedStep) -> Finding:
    """Find where the first value that is not finite arises in a step that has failed.

    Weights and buffers are those before the step, and so are the random numbers of dropout. The
    buffers are restored; the gradients are not.
    """
    model, train_step = trainer.model, trainer.train_step
    kept = {name: buffer.clone() for name, buffer in model.named_buffers()}
    train_step.optimizer.zero_grad(set_to_none=True)
    seed_all(trainer.settings.seed, failure.step, trainer.runtime.rank)
    finding = None
    for batch in failure.batches:
        names = trainer.batches.names([batch])
        finding = _look_at_input(batch, names) or _replay(trainer, batch, names, failure.loss_scale)
        if finding is not None:
            break
    finding = finding or _look_at_sums(model)
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            buffer.copy_(kept[name])
    return finding


def _look_at_input(batch: MicroBatch, names: Sequence[str]) -> Finding | None:
    if not is_finite(batch.images):
        which = guilty_images(batch.images, names)
        return Finding("the input", f"images {describe(batch.images)}, {which}", batch.images)
    if not is_finite(batch.targets):
        return Finding("the input", f"targets {describe(batch.targets)}", batch.targets)
    return None


def _replay(
    trainer: Trainer, batch: MicroBatch, names: Sequence[str], loss_scale: float
) -> Finding | None:
    """Make forward and backward pass of a micro-batch."""
    model, train_step = trainer.model, trainer.train_step
    with warnings.catch_warnings(), ForwardWatch(model).watching() as forward:
        warnings.filterwarnings("ignore", message="Anomaly Detection has been enabled")
        with torch.autograd.set_detect_anomaly(True, check_nan=False):
            if len(batch.targets):
                loss = train_step.loss_of(batch, model)
            else:
                with frozen_statistics(model):
                    loss = train_step.loss_of(batch, model)
            finding = forward.finding
            if finding is not None:
                which = guilty_images(finding.value, names)
                what = f"{finding.what}{which and f'; {which}'}"
                return Finding(f"forward pass of {finding.where}", what)
            if not math.isfinite(loss.item()):
                return Finding("the loss", f"it is {loss.item()}, of finite logits")
            backward = BackwardWatch(loss, forward.owners)
            forward.is_on = False
            (loss * loss_scale / train_step.samples_per_rank).backward()
    return backward.finding


def _look_at_sums(model: nn.Module) -> Finding:
    """Say what is known when no operation makes a value that is not finite."""
    grads = [(name, p.grad) for name, p in model.named_parameters() if p.grad is not None]
    if bad := nonfinite_names(grads):
        names = join_names(bad)
        return Finding("the sum of gradients over images", f"not finite for {names}")
    norms = {name: float(grad.double().norm()) for name, grad in grads}
    if norms and max(norms.values()) > 1e18:
        name = max(norms, key=norms.__getitem__)
        return Finding(
            "the norm of the gradients",
            f"too large for float32, although each is finite; the largest is {norms[name]:.3g} "
            f"of {name}",
        )
    return Finding(
        "not found",
        "computed again, layer by layer and on one process, the step is finite: a fused layer, "
        "compiled code, an operation with random results, or another process; try "
        "REDNET_BACKEND=reference and trainer.compile=false",
    )
