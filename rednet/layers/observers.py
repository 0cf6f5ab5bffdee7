"""Whether anything would notice that a module is not called, or is called twice."""

from torch import nn
from torch.nn.modules.module import _has_any_global_hook


def is_bare(module: nn.Module) -> bool:
    """Return whether a module has no hooks and runs its class's forward."""
    return not (
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or module._compiled_call_impl is not None
        or "forward" in vars(module)
    )


def has_global_hooks() -> bool:
    """Return whether hooks of all modules are registered."""
    return _has_any_global_hook()
