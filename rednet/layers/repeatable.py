"""Modules that run a second time, in the backward pass, as they ran in the forward pass."""

from collections.abc import Iterator
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import Parameter
from torch.utils._pytree import tree_leaves

from rednet.layers.observers import has_global_hooks, is_bare

_Class = TypeVar("_Class", bound=type[nn.Module])

_repeatable: set[type[nn.Module]] = {nn.Conv2d, nn.ReLU, nn.Identity}
# These change nothing but their buffers, of which a `Replay` can keep those of the first run.
_repeatable_but_for_buffers = {nn.BatchNorm2d}


def repeatable(cls: _Class) -> _Class:
    """Declare that running a module of this class twice gives the same and has no side effects.

    The declaration covers neither subclasses nor the modules inside.
    """
    _repeatable.add(cls)
    return cls


def is_repeatable(module: Any, but_for_buffers: bool = False) -> bool:
    """Return whether a module is repeatable, with all modules inside, and nothing observes it.

    Args:
        module: The module.
        but_for_buffers: Whether it may update its buffers, such as running statistics.
    """
    classes = _repeatable | _repeatable_but_for_buffers if but_for_buffers else _repeatable
    return (
        isinstance(module, nn.Module)
        and not has_global_hooks()
        and all(type(each) in classes and is_bare(each) for each in module.modules())
    )


class Replay:
    """Runs a module with the parameters it had at first, and on request with its buffers of then.

    `torch.func.functional_call` replaces parameters only during the forward pass: without this, the
    backward pass would compute with others.

    Args:
        module: The module, about to run for the first time.
        source: Tensors that must not be modified before the next run, besides the parameters.
    """

    def __init__(self, module: nn.Module, source: Any = None) -> None:
        self.module = module
        self.parameters = _parameters(module)
        self._watched = [
            tensor
            for tensor in tree_leaves((source, list(self.parameters.values())))
            if isinstance(tensor, Tensor) and not tensor.is_inference()
        ]
        self._versions = [tensor._version for tensor in self._watched]
        self._buffers: dict[str, Tensor] = {}

    def keep_buffers(self) -> "Replay":
        """Run with copies of today's buffers from now on; runs no longer update the module's."""
        self._buffers = _cloned(dict(self.module.named_buffers()))
        return self

    def __call__(self, input: Any) -> Any:
        """Return the module's output.

        Raises:
            RuntimeError: A parameter, or the source, has been modified in place.
        """
        if [tensor._version for tensor in self._watched] != self._versions:
            raise RuntimeError(
                f"{type(self.module).__name__} cannot be computed again in the backward pass: one "
                "of its parameters, or its input, has been modified by an inplace operation"
            )
        state = dict(self._replaced()) | _cloned(self._buffers)
        return functional_call(self.module, state, (input,)) if state else self.module(input)

    def _replaced(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the parameters whose places others have taken."""
        now = _parameters(self.module)
        for name, tensor in self.parameters.items():
            if now.get(name) is not tensor and _may_replace(tensor, now.get(name)):
                yield name, tensor


def _parameters(module: nn.Module) -> dict[str, Tensor]:
    return dict(module.named_parameters(remove_duplicate=False))


def _may_replace(one: Tensor, other: Tensor | None) -> bool:
    """Return whether tensors differ in their values only, unlike the parts and wholes of FSDP."""
    return (
        other is not None
        and {type(one), type(other)} <= {Tensor, Parameter}
        and (one.shape, one.dtype, one.device) == (other.shape, other.dtype, other.device)
    )


def _cloned(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in tensors.items()}
