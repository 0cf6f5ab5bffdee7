"""Limits on the gradients of a step."""

from dataclasses import dataclass

import torch
from timm.models import model_parameters
from timm.utils import adaptive_clip_grad
from torch import Tensor, nn


@dataclass(frozen=True)
class Clipping:
    """Limits gradients before the optimizer uses them.

    Attributes:
        limit: Largest norm, value, or ratio of gradient to weight norm; None for no limit.
        mode: "norm" (of all gradients together), "value" (each element) or "agc" (adaptive, per
            unit, without the classifier; Brock et al. 2021, https://arxiv.org/abs/2102.06171).
    """

    limit: float | None = None
    mode: str = "norm"

    def __call__(self, model: nn.Module, norm: Tensor) -> None:
        """Clip the gradients of `model` in place, given their total norm."""
        if self.limit is None:
            return
        if self.mode == "norm":
            torch.nn.utils.clip_grads_with_norm_(model.parameters(), self.limit, norm)
        elif self.mode == "value":
            torch.nn.utils.clip_grad_value_(model.parameters(), self.limit)
        else:
            adaptive_clip_grad(model_parameters(model, exclude_head=True), self.limit)
