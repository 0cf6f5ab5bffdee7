"""When a kernel may read the memory of tensors directly, unseen by torch."""

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


def is_recorded(*tensors: Tensor | None) -> bool:
    """Return whether autograd would record an operation on the tensors."""
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)


def is_plain(tensor: Tensor) -> bool:
    """Return whether a tensor is an ordinary array in the CPU's memory."""
    return is_ordinary(tensor) and tensor.is_cpu  # in this order: torch.fx has proxies


def is_ordinary(tensor: Tensor) -> bool:
    """Return whether a tensor is an ordinary array in the memory of any device."""
    # Other subclasses may hold anything; type() also excludes those of Parameter.
    return (
        (type(tensor) is Tensor or type(tensor) is Parameter)
        and tensor.layout is torch.strided
        and not torch._C._dispatch_isTensorSubclassLike(tensor)  # such as one that vmap maps
        and not tensor.is_neg()
    )


def is_channels_last(images: Tensor, dtypes: tuple[torch.dtype, ...]) -> bool:
    """Return whether a tensor is plain, of one of the dtypes, 4-D, channels_last and not empty."""
    return (
        is_plain(images)
        and images.dtype in dtypes
        and images.dim() == 4
        and images.numel() > 0
        and not images._is_zerotensor()
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
