"""How long each phase of a training step takes: waiting for data, forward, backward, optimizer."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Variable
from torch.profiler import record_function

from rednet.training.losses import Loss
from rednet.training.step import TrainStep

DATA, FORWARD, BACKWARD, OPTIMIZER = "waiting for data", "forward", "backward", "optimizer"
OTHER = "rest of the step"
PHASES = (DATA, FORWARD, BACKWARD, OPTIMIZER, OTHER)


class Phases:
    """Notes when a training step enters another phase, by hooks on what the step calls.

    Args:
        train_step: The step.
        model: Its network, neither compiled nor wrapped.
        device: Where it computes; a GPU is waited for at every change of phase.

    Attributes:
        seconds: Time spent in each phase.
    """

    def __init__(self, train_step: TrainStep, model: nn.Module, device: torch.device) -> None:
        self.train_step, self.model, self.device = train_step, model, device
        self.seconds: dict[str, float] = defaultdict(float)
        self._phase: str | None = None
        self._since = 0.0
        self._range: Any = None

    def enter(self, phase: str | None) -> None:
        """Begin a phase; None ends the last one."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        now = time.perf_counter()
        if self._phase is not None:
            self.seconds[self._phase] += now - self._since
            self._range.__exit__(None, None, None)
        self._phase, self._since = phase, now
        if phase is not None:
            self._range = record_function(f"phase: {phase}")
            self._range.__enter__()

    @contextmanager
    def watching(self) -> Iterator["Phases"]:
        """Watch the steps that are made meanwhile."""
        loss, optimizer = self.train_step.loss, self.train_step.optimizer
        hooks = [
            self.model.register_forward_pre_hook(lambda *_: self.enter(FORWARD)),
            optimizer.register_step_pre_hook(lambda *_: self.enter(OPTIMIZER)),
            optimizer.register_step_post_hook(lambda *_: self.enter(OTHER)),
        ]
        self.train_step.loss = _WatchedLoss(loss, self)
        try:
            yield self
        finally:
            self.train_step.loss = loss
            for hook in hooks:
                hook.remove()


class _WatchedLoss:
    """A loss after which the backward pass begins; autograd says when it ends."""

    def __init__(self, loss: Loss, phases: Phases) -> None:
        self.loss, self.phases = loss, phases

    @property
    def class_weights(self) -> Tensor | None:
        """Weights (classes,) of the classes."""
        return self.loss.class_weights

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the sum of the losses of all samples."""
        loss = self.loss(logits, targets)
        self.phases.enter(BACKWARD)
        if loss.requires_grad:
            loss.register_hook(self._when_it_begins)
        return loss

    def _when_it_begins(self, grad: Tensor) -> None:
        engine: Any = Variable._execution_engine
        engine.queue_callback(lambda: self.phases.enter(OTHER))
