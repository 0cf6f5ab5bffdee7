"""Tensors that autograd does not save for the backward pass but computes again there."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from rednet.ops.autocast import has_autocast


def apply_with_recomputed_kernel(
    function: Callable[[Tensor, Tensor], Tensor],
    kept: Tensor,
    make: Callable[[Any], Tensor],
    source: Any,
    make_keeps_result: bool = False,
) -> Tensor:
    """Return `function(kept, make(source))`; the backward pass calls `make(source)` again.

    Unlike with `torch.utils.checkpoint`, `function` runs only once. `make` must be deterministic:
    no dropout, no batch statistics. If other hooks already decide what autograd saves, such as
    those of a checkpoint around the whole block, nothing is recomputed here.

    Args:
        function: Computes the output.
        kept: First argument of `function`.
        make: Computes the second argument of `function`, the kernel.
        source: Argument of `make`.
        make_keeps_result: Autograd saves the result of `make` for the backward pass of `make`, as
            for a softmax; both functions then run again in the backward pass.
    """
    if not torch.is_grad_enabled() or torch.compiler.is_exporting():
        return function(kept, make(source))
    compiling = torch.compiler.is_compiling()
    if not compiling and saved_tensor_hooks_active():
        return function(kept, make(source))
    if compiling or make_keeps_result:
        # Inductor removes the second run of `function`, whose result is unused.
        return checkpoint(
            lambda *args: function(args[0], make(args[1])), kept, source, use_reentrant=False
        )
    made = make(source)
    remake = _Remake(make, source, made)
    # Only what `function` saves passes through the hooks; of that, only `made` is dropped.
    with torch.autograd.graph.saved_tensors_hooks(remake.pack, remake.unpack):
        return function(kept, made)


def saved_tensor_hooks_active() -> bool:
    """Return whether a `saved_tensors_hooks` context already decides what autograd keeps."""
    return torch._C._autograd._top_saved_tensors_default_hooks(True) is not None


class _Remake:
    """Saved-tensor hooks that drop one tensor and compute it again, under the same autocast."""

    def __init__(self, make: Callable[[Any], Tensor], source: Any, made: Tensor) -> None:
        self.make, self.source = make, source
        self.identity = self._identify(made)
        self.autocast = _current_autocast(made.device.type)

    # Autograd may hand the hook another tensor object for the same values, so compare the memory.
    @staticmethod
    def _identify(tensor: Tensor) -> tuple[Any, ...]:
        storage = tensor.untyped_storage()
        return storage._cdata, tensor.storage_offset(), tensor.shape, tensor.stride()

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

    Running statistics are updated once, in the forward pass.
    """
    if torch.compiler.is_compiling():
        return checkpoint(module, x, use_reentrant=False)

    def contexts() -> tuple[Any, Any]:
        return nullcontext(), _frozen_statistics(module)

    return checkpoint(module, x, use_reentrant=False, context_fn=contexts)


@contextmanager
def _frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Keep batch normalisation, within the context, from updating its running statistics."""
    tracking = [
        (layer, layer.momentum, layer.num_batches_tracked)
        for layer in module.modules()
        if isinstance(layer, _BatchNorm) and layer.track_running_stats and layer.training
    ]
    for layer, _, _ in tracking:
        layer.momentum, layer.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for layer, momentum, count in tracking:
            layer.momentum, layer.num_batches_tracked = momentum, count
