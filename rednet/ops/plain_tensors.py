"""When a kernel may read the memory of tensors directly, unseen by torch."""

from functools import cache

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import Parameter


def is_plain_eager() -> bool:
    """Return whether nothing observes single operations: no mode, trace, transform or dual."""
    return not (
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or torch._C._len_torch_dispatch_stack()
        or torch._C._len_torch_function_stack()
        or torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0
    )


def is_plain(tensor: Tensor) -> bool:
    """Return whether a tensor is an ordinary array in the CPU's memory."""
    # Other subclasses may hold anything; type() also excludes those of Parameter.
    return (type(tensor) is Tensor or type(tensor) is Parameter) and torch._C._dispatch_keys(
        tensor
    ).raw_repr() in _plain_keys()


@cache
def _plain_keys() -> frozenset[int]:
    """Return the dispatch keys of new arrays, as bits.

    Whatever else a tensor may be gives it another key: sparse, batched, negative, all zeros, ...
    """
    keys = []
    for mode in (False, True):
        with torch.inference_mode(mode):
            keys.append(torch._C._dispatch_keys(torch.empty(0, device="cpu")).raw_repr())
    return frozenset(keys)


def is_channels_last(images: Tensor, dtypes: tuple[torch.dtype, ...]) -> bool:
    """Return whether a tensor is plain, of one of the dtypes, 4-D, channels_last and not empty."""
    return (
        is_plain(images)
        and images.dtype in dtypes
        and images.dim() == 4
        and images.numel() > 0
        and images.is_contiguous(memory_format=torch.channels_last)
    )


def is_vector(tensor: Tensor, size: int) -> bool:
    """Return whether a tensor is plain, float32, contiguous and of shape (size,)."""
    return (
        is_plain(tensor)
        and tensor.dtype is torch.float32
        and tensor.dim() == 1
        and tensor.numel() == size
        and tensor.is_contiguous()
    )
