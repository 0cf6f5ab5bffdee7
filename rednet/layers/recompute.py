"""Tensors that autograd does not save for the backward pass but computes again there."""

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from rednet.layers.repeatable import Replay, is_repeatable
from rednet.ops.autocast import has_autocast
from rednet.ops.plain_tensors import is_plain_eager


def apply_with_recomputed_kernel(
    function: Callable[[Tensor, Tensor], Tensor],
    kept: Tensor,
    make: nn.Module,
    source: Any,
    make_keeps_result: bool = False,
) -> Tensor:
    """Return `function(kept, make(source))`; the backward pass calls `make(source)` again.

    Unlike with `torch.utils.checkpoint`, `function` runs only once. Nothing is recomputed where it
    could be noticed, or could give another kernel: if `make` is not repeatable or has hooks, in a
    trace, inside a transform of `torch.func`, or if other hooks already decide what autograd saves,
    such as those of a checkpoint around the whole block.

    Args:
        function: Computes the output.
        kept: First argument of `function`.
        make: Computes the second argument of `function`, the kernel.
        source: Argument of `make`.
        make_keeps_result: Autograd saves the result of `make` for the backward pass of `make`, as
            for a softmax; both functions then run again in the backward pass.
    """
    if not (_can_recompute(kept) and is_repeatable(make)):
        return function(kept, make(source))
    if torch.compiler.is_compiling():
        # Inductor removes the second run of `function`, whose result is unused.
        return _checkpoint_both(function, kept, make, source)
    if saved_tensor_hooks_active():
        return function(kept, make(source))
    if make_keeps_result:
        return _checkpoint_both(function, kept, Replay(make), source)
    made = make(source)
    remake = _Remake(make, source, made)
    # Only what `function` saves passes through the hooks; of that, only `made` is dropped.
    with torch.autograd.graph.saved_tensors_hooks(remake.pack, remake.unpack):
        return function(kept, made)


def _checkpoint_both(
    function: Callable[[Tensor, Tensor], Tensor],
    kept: Tensor,
    make: Callable[[Any], Tensor],
    source: Any,
) -> Tensor:
    return checkpoint(
        lambda *args: function(args[0], make(args[1])), kept, source, use_reentrant=False
    )


def _can_recompute(x: Any) -> bool:
    """Return whether autograd records operations on x, and only it."""
    return (
        torch.is_grad_enabled()
        and isinstance(x, Tensor)  # unlike the proxies of torch.fx
        and not torch.compiler.is_exporting()
        and not torch.jit.is_tracing()
        and not torch._C._are_functorch_transforms_active()
    )


def saved_tensor_hooks_active() -> bool:
    """Return whether a `saved_tensors_hooks` context already decides what autograd keeps."""
    return torch._C._autograd._top_saved_tensors_default_hooks(True) is not None


class _Remake:
    """Saved-tensor hooks that drop one tensor and compute it again, under the same autocast."""

    def __init__(self, make: nn.Module, source: Any, made: Tensor) -> None:
        self.make, self.source = Replay(make, source), source
        self.identity = self._identify(made)
        self.autocast = _current_autocast(made.device.type)

    # Autograd may hand the hook another tensor object for the same values, so compare the memory,
    # and the version: a function that has modified `made` saves other values.
    @staticmethod
    def _identify(tensor: Tensor) -> tuple[Any, ...]:
        storage = tensor.untyped_storage()
        place = storage._cdata, tensor.storage_offset(), tensor.shape, tensor.stride()
        return *place, tensor._version

    def pack(self, saved: Tensor) -> Tensor | None:
        return None if self._identify(saved) == self.identity else saved

    def unpack(self, packed: Tensor | None) -> Tensor:
        if packed is not None:
            return packed
        with torch.no_grad(), self.autocast():
            return self.make(self.source)


def _current_autocast(device: str) -> Callable[[], Any]:
    """Return a function that creates contexts with the current autocast settings."""
    if not has_autocast(device):
        return nullcontext
    dtype, enabled = torch.get_autocast_dtype(device), torch.is_autocast_enabled(device)
    return partial(torch.autocast, device, dtype, enabled)


def checkpoint_module(module: nn.Module, x: Tensor) -> Tensor:
    """Return `module(x)`, saving only x for the backward pass.

    Buffers such as running statistics are updated once, in the forward pass.
    """
    if not _can_recompute(x):
        return module(x)
    if torch.compiler.is_compiling():
        return checkpoint(module, x, use_reentrant=False)
    first_run: list[Callable[[Tensor], Tensor]] = [module]
    replay = Replay(module).keep_buffers()

    def run(x: Tensor) -> Tensor:
        return (first_run.pop() if first_run else replay)(x)

    return checkpoint(run, x, use_reentrant=False)


def may_checkpoint(modules: Iterable[nn.Module], x: Any) -> bool:
    """Return whether `checkpoint_module` of some modules would change nothing but the memory.

    It could be noticed by hooks and by what observes single operations, and modules that are random
    or of other classes could give other results.
    """
    return (
        isinstance(x, Tensor)  # unlike the proxies of torch.fx
        and is_plain_eager()
        and not saved_tensor_hooks_active()
        and all(is_repeatable(module, but_for_buffers=True) for module in modules)
    )
