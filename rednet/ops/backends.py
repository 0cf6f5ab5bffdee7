"""The registered backends of the operators, and how one of them is selected.

A backend implements the three operators of an involution and says for which tensors it is
available. The first registered backend that is available is used; the environment variable
`REDNET_BACKEND` or `backend(name)` forces one.
"""

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType

import torch
from torch import Tensor

from rednet.ops import cuda, native, native_span, reference
from rednet.ops.broken_backend import BackendFailure, BrokenBackend
from rednet.ops.span_backend import SpanBackend


@dataclass(frozen=True)
class Backend:
    """An implementation of the three operators.

    Attributes:
        name: Name by which it is forced.
        unavailable_reason: (device, dtype) to why it cannot run there and how to change that, or
            None if it can run.
        involution2d: (input, weight, window) to the output.
        grad_input: (grad, weight, input_size, window) to the gradient of the input.
        grad_weight: (grad, input, groups, window) to the gradient of the weight.
        involution2d_affine: (input, weight, scale, shift, relu, window) to the output with scale,
            shift and ReLU by channel; None to apply them to the output of `involution2d`.
        span: The operators together with the convolution that makes the kernels; None to compose
            them of that convolution and the operators above.
    """

    name: str
    unavailable_reason: Callable[[torch.device, torch.dtype], str | None]
    involution2d: Callable[..., Tensor]
    grad_input: Callable[..., Tensor]
    grad_weight: Callable[..., Tensor]
    involution2d_affine: Callable[..., Tensor] | None = None
    span: SpanBackend | None = None


_registered: tuple[Backend, ...] = (
    Backend(
        name="cuda",
        unavailable_reason=cuda.unavailable_reason,
        involution2d=cuda.involution2d,
        grad_input=cuda.involution2d_grad_input,
        grad_weight=cuda.involution2d_grad_weight,
        span=cuda.SPAN,
    ),
    Backend(
        name="native",
        unavailable_reason=native.unavailable_reason,
        involution2d=native.involution2d,
        grad_input=native.involution2d_grad_input,
        grad_weight=native.involution2d_grad_weight,
        involution2d_affine=native.involution2d_affine,
        span=SpanBackend(native_span.unavailable_reason, native_span.involution2d),
    ),
    Backend(
        name="reference",
        unavailable_reason=lambda device, dtype: None,
        involution2d=reference.involution2d,
        grad_input=reference.involution2d_grad_input,
        grad_weight=reference.involution2d_grad_weight,
        involution2d_affine=reference.involution2d_affine,
    ),
)
_COSTS = {"native": ", with which RedNet-50 takes about twice as long"}
"""What it costs that a backend cannot run; docs/backends.md has the measurement."""

_forced: str | None = None
_warned: dict[str, object] = {}
_kept: dict[tuple[str, torch.dtype], str] | None = None


def registered_backends() -> tuple[Backend, ...]:
    """Return all backends, in the order in which `select` tries them."""
    return _registered


class register_backend:
    """Register a backend, until `remove` is called or, as a context manager, until it exits.

    The backend has to follow the contract of `rednet.ops.reference`: the same arguments and values,
    and results in the memory format of `rednet.ops.results.empty_result`.

    Args:
        backend: The backend.
        before: Name of the backend that it takes precedence over. With None it comes last, after
            the reference, which runs everywhere: only its name selects it.

    Raises:
        ValueError: The name is taken, or no backend is named `before`.

    Example:
        >>> with register_backend(mine, before="native"), backend(mine.name):
        ...     output = involution2d(input, weight, kernel_size=7, padding=3)
    """

    def __init__(self, backend: Backend, before: str | None = None) -> None:
        global _registered
        if any(other.name == backend.name for other in _registered):
            raise ValueError(f"a backend named {backend.name!r} is already registered")
        end = len(_registered)
        place = end if before is None else _registered.index(_find_backend(before))
        _registered = (*_registered[:place], backend, *_registered[place:])
        self._backend: Backend | None = backend

    def remove(self) -> None:
        """Remove the backend; the built-in ones stay."""
        global _registered
        _registered = tuple(other for other in _registered if other is not self._backend)
        self._backend = None  # it may be registered again, which a second call must not undo

    def __enter__(self) -> "register_backend":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.remove()


class backend:
    """Force a backend by name, from now on or, as a context manager, until it exits.

    Args:
        name: Name of a registered backend, or None to select freely.

    Raises:
        ValueError: No backend has that name.
    """

    def __init__(self, name: str | None) -> None:
        global _forced
        if name is not None:
            _find_backend(name)
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


@contextmanager
def keep_backends() -> Iterator[None]:
    """Keep to the backends that are selected first, until the context exits.

    Otherwise a backend that fails once, perhaps on one process of many, would leave the rest of a
    training to the reference.
    """
    global _kept
    before, _kept = _kept, {}
    try:
        yield
    finally:
        _kept = before


def kept_backends() -> dict[tuple[str, torch.dtype], str]:
    """Return the names of the kept backends, by type of device and dtype."""
    return dict(_kept or {})


def broken_backends(device: torch.device, dtype: torch.dtype) -> list[str]:
    """Return a line about each backend that should be available and is not."""
    reasons = {each.name: each.unavailable_reason(device, dtype) for each in _registered}
    broken = {name: reason for name, reason in reasons.items() if isinstance(reason, BrokenBackend)}
    return [f"backend {name!r} cannot run: {reason}" for name, reason in broken.items()]


def select(device: torch.device, dtype: torch.dtype) -> Backend:
    """Return the backend for tensors of this device and dtype.

    Raises:
        ValueError: The forced backend does not exist.
        BackendFailure: A kept backend is unavailable.
        RuntimeError: The forced backend is unavailable; the message says why and what to do.
    """
    name = _forced or os.environ.get("REDNET_BACKEND")
    if not name:
        found = next(each for each in _registered if _is_available(each, device, dtype))
        if _kept is not None:
            _require_kept(found, _kept, device, dtype)
        return found
    forced = _find_backend(name)
    reason = forced.unavailable_reason(device, dtype)
    if reason is not None:
        raise RuntimeError(f"backend {name!r} cannot run: {reason}")
    return forced


def _require_kept(
    found: Backend,
    kept: dict[tuple[str, torch.dtype], str],
    device: torch.device,
    dtype: torch.dtype,
) -> None:
    """Require the backend that was selected first."""
    name = kept.setdefault((device.type, dtype), found.name)
    if name != found.name:
        reason = _find_backend(name).unavailable_reason(device, dtype)
        raise BackendFailure(f"backend {name!r} has worked so far and cannot run now: {reason}")


def _is_available(backend: Backend, device: torch.device, dtype: torch.dtype) -> bool:
    """Return whether a backend can run; warn once per process about one that is broken."""
    reason = backend.unavailable_reason(device, dtype)
    # Threads may meet a broken backend at the same time: setdefault is atomic, and only the thread
    # whose own token was stored warns.
    token = object()
    if isinstance(reason, BrokenBackend) and _warned.setdefault(backend.name, token) is token:
        warnings.warn(
            f"backend {backend.name!r} cannot run, the slower reference is used"
            f"{_COSTS.get(backend.name, '')}: {reason}",
            RuntimeWarning,
            stacklevel=2,
        )
    return reason is None


def _find_backend(name: str) -> Backend:
    for each in _registered:
        if each.name == name:
            return each
    names = ", ".join(each.name for each in _registered)
    raise ValueError(f"unknown backend {name!r}: choose from {names}")
