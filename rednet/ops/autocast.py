"""Autocast for the operators: they take part in it as a convolution does."""

import torch
from torch import Tensor


def has_autocast(device: str) -> bool:
    """Return whether autocast knows a type of device; torch raises for one that it does not."""
    # torch.amp.is_autocast_available would break the graph under torch.compile in torch 2.11.
    return device != "meta"


def cast_as_convolution(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Cast the tensors as autocast casts those of a convolution; float64 is not cast."""
    for tensor in tensors:
        if not isinstance(tensor, Tensor):
            raise ValueError(f"the operator takes two tensors, got {type(tensor).__name__}")
    device = tensors[0].device.type
    if not has_autocast(device) or not torch.is_autocast_enabled(device):
        return tensors
    dtype = torch.get_autocast_dtype(device)
    return tuple(
        tensor.to(dtype) if tensor.is_floating_point() and tensor.dtype != torch.float64 else tensor
        for tensor in tensors
    )
