"""What a step does when its loss or gradients are not finite."""

import math
from dataclasses import dataclass

import torch

from rednet.errors import InputError


class NonFiniteError(InputError):
    """The loss or the gradient norm is not finite; the weights have not moved."""


@dataclass(frozen=True)
class NonFinitePolicy:
    """Decides whether the weights may move.

    Attributes:
        on_nonfinite: "raise" or "skip" the step.
    """

    on_nonfinite: str = "raise"

    def allows(self, loss: float, norm: float, scaler: torch.amp.GradScaler) -> bool:
        """Return whether loss and gradient norm are finite.

        Raises:
            NonFiniteError: They are not, and the policy is to raise. An overflow in fp16 is left to
                the scaler, which halves its scale, until the scale falls below 1.
        """
        if math.isfinite(loss) and math.isfinite(norm):
            return True
        if self.on_nonfinite == "raise" and not _is_overflow(loss, scaler):
            raise NonFiniteError(_explain(loss, norm, scaler))
        return False


def _is_overflow(loss: float, scaler: torch.amp.GradScaler) -> bool:
    return scaler.is_enabled() and math.isfinite(loss) and scaler.get_scale() >= 1


def _explain(loss: float, norm: float, scaler: torch.amp.GradScaler) -> str:
    if not math.isfinite(loss):
        what = f"the loss is {loss}"
    elif scaler.is_enabled():
        what = f"the gradient norm is {norm} at a loss scale of {scaler.get_scale():g}"
    else:
        what = f"the gradient norm is {norm}"
    return (
        f"{what}; the weights have not moved. Lower optimizer.lr, set trainer.clip_grad, "
        "or skip such steps with trainer.on_nonfinite=skip"
    )
