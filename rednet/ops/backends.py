"""The choice of the code that computes an involution.

A backend is the three operators of an involution in one technique, and a predicate that says
whether it can run on given tensors. The first of `BACKENDS` that can is used; `REDNET_BACKEND` in
the environment or `backend(name)` forces one.
"""

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

import torch
from torch import Tensor

from rednet.ops import cuda, native, reference
from rednet.ops.broken_backend import BrokenBackend


@dataclass(frozen=True)
class Backend:
    """One way to compute the operators.

    Attributes:
        name: What users call it.
        unavailable_reason: (device, dtype) to why the backend cannot run and what to do about it,
            or None if it can.
        involution2d: (input, weight, window) to the output.
        grad_input: (grad, weight, input_size, window) to the gradient of the input.
        grad_weight: (grad, input, groups, window) to the gradient of the weight.
    """

    name: str
    unavailable_reason: Callable[[torch.device, torch.dtype], str | None]
    involution2d: Callable[..., Tensor]
    grad_input: Callable[..., Tensor]
    grad_weight: Callable[..., Tensor]


BACKENDS = (
    Backend(
        name="cuda",
        unavailable_reason=cuda.unavailable_reason,
        involution2d=cuda.involution2d,
        grad_input=cuda.involution2d_grad_input,
        grad_weight=cuda.involution2d_grad_weight,
    ),
    Backend(
        name="native",
        unavailable_reason=native.unavailable_reason,
        involution2d=native.involution2d,
        grad_input=native.involution2d_grad_input,
        grad_weight=native.involution2d_grad_weight,
    ),
    Backend(
        name="reference",
        unavailable_reason=lambda device, dtype: None,
        involution2d=reference.involution2d,
        grad_input=reference.involution2d_grad_input,
        grad_weight=reference.involution2d_grad_weight,
    ),
)

_forced: str | None = None
_warned: dict[str, object] = {}


class backend:
    """Forces a backend by name, from the call on or, as a context manager, until its end.

    Args:
        name: Name of a backend, or None for the free choice.

    Raises:
        ValueError: There is no backend of that name.
    """

    def __init__(self, name: str | None) -> None:
        global _forced
        if name is not None:
            _named(name)
        self._previous, _forced = _forced, name

    def __enter__(self) -> "backend":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        global _forced
        _forced = self._previous


def select(device: torch.device, dtype: torch.dtype) -> Backend:
    """The backend to use for tensors of this device and dtype.

    Raises:
        ValueError: The forced backend does not exist.
        RuntimeError: The forced backend cannot run; the message says why and what to do.
    """
    name = _forced or os.environ.get("REDNET_BACKEND")
    if not name:
        return next(choice for choice in BACKENDS if _can_run(choice, device, dtype))
    choice = _named(name)
    reason = choice.unavailable_reason(device, dtype)
    if reason is not None:
        raise RuntimeError(f"backend {name!r} cannot run: {reason}")
    return choice


def _can_run(choice: Backend, device: torch.device, dtype: torch.dtype) -> bool:
    """Whether a backend can run; warns, once in a process, of one that should and cannot."""
    reason = choice.unavailable_reason(device, dtype)
    token = object()
    if isinstance(reason, BrokenBackend) and _warned.setdefault(choice.name, token) is token:
        warnings.warn(
            f"backend {choice.name!r} cannot run, the slower reference is used: {reason}",
            RuntimeWarning,
            stacklevel=2,
        )
    return reason is None


def _named(name: str) -> Backend:
    for choice in BACKENDS:
        if choice.name == name:
            return choice
    legal = ", ".join(choice.name for choice in BACKENDS)
    raise ValueError(f"no backend is named {name!r}; there is: {legal}")
