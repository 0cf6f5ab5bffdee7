"""Normalisation fused with the shortcut and the activation that follow it."""

from typing import Any

import torch
from torch import Tensor, nn

from rednet.layers.observers import has_global_hooks, is_bare
from rednet.ops.batch_norm import Channels, Statistics, batch_norm, can_run

# Whoever replaces the forward of one of these classes wants it called.
_FORWARDS: dict[type[nn.Module], Any] = {
    kind: kind.forward for kind in (nn.BatchNorm2d, nn.ReLU, nn.Identity)
}


def norm_act(
    x: Tensor, norm: nn.Module, act: nn.Module | None = None, shortcut: Tensor | None = None
) -> Tensor:
    """Return `act(norm(x) + shortcut)`, computed in one pass over the memory if possible.

    That is possible for `nn.BatchNorm2d` and `nn.ReLU` on the CPU, see `rednet.ops.batch_norm`.
    Everything observable of the modules (statistics, hooks, counted operations) stays the same.

    Args:
        x: Images (N, C, H, W).
        norm: Any normalisation.
        act: Any activation, or None.
        shortcut: Tensor to add before the activation, or None.
    """
    if not torch.compiler.is_compiling() and _are_known(norm, act):
        channels = _channels(norm)
        if can_run(x, channels, shortcut) and _is_legal(norm, channels, x):
            statistics = _statistics(norm, channels)
            return batch_norm(x, channels, statistics, type(act) is nn.ReLU, shortcut)
    x = norm(x)
    if shortcut is not None:
        x = x + shortcut
    return x if act is None else act(x)


def _are_known(norm: Any, act: nn.Module | None) -> bool:
    """Return whether the modules can be fused and nothing observes them."""
    return (
        type(norm) is nn.BatchNorm2d
        and _is_torchs_own(norm)
        and (act is None or (type(act) in (nn.ReLU, nn.Identity) and _is_torchs_own(act)))
        and not has_global_hooks()
    )


def _is_torchs_own(module: nn.Module) -> bool:
    return is_bare(module) and type(module).forward is _FORWARDS[type(module)]


def _channels(norm: Any) -> Channels:
    return Channels(norm.weight, norm.bias, norm.running_mean, norm.running_var)


def _is_legal(norm: Any, channels: Channels, x: Tensor) -> bool:
    """Return whether the layer can normalise x; if not, calling it raises its error."""
    has_mean, has_var = channels.mean is not None, channels.var is not None
    single = x.numel() == x.shape[1]
    return norm.eps > 0 and has_mean == has_var and not (single and _uses_batch(norm, channels))


def _uses_batch(norm: Any, channels: Channels) -> bool:
    return norm.training or channels.mean is None


def _statistics(norm: Any, channels: Channels) -> Statistics:
    """Return what the layer would pass to `F.batch_norm`; count the batch, as the layer does."""
    momentum = norm.momentum or 0.0
    tracks = norm.training and norm.track_running_stats
    if tracks and norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
        if norm.momentum is None:
            momentum = 1.0 / float(norm.num_batches_tracked)
    return Statistics(_uses_batch(norm, channels), tracks, momentum, norm.eps)
