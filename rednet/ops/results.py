"""The tensors that the operators write: shape, dtype, device and memory format."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch._prims_common import suggest_memory_format

from rednet.ops.window import Window


def empty_output(input: Tensor, weight: Tensor) -> Tensor:
    """Return an uninitialised output (N, C, Ho, Wo) of `involution2d`."""
    return empty_result(input, weight, (*input.shape[:2], *weight.shape[2:]))


def empty_grad_input(grad: Tensor, weight: Tensor, input_size: tuple[int, int]) -> Tensor:
    """Return an uninitialised gradient of the input (N, C, H, W)."""
    return empty_result(grad, weight, (*grad.shape[:2], *input_size))


def empty_grad_weight(grad: Tensor, input: Tensor, groups: int, window: Window) -> Tensor:
    """Return an uninitialised gradient of the weight (N, G*K*K, Ho, Wo)."""
    return empty_result(grad, input, (grad.shape[0], groups * window.area, *grad.shape[2:]))


def empty_result(first: Tensor, second: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return an uninitialised result of two tensors: their dtype, device and memory format."""
    layout = memory_format_of(first, second)
    return torch.empty(shape, dtype=first.dtype, device=first.device, memory_format=layout)


def empty_like_images(images: Tensor, size: Sequence[int]) -> Tensor:
    """Return uninitialised images of another size: in channels_last if these are, quickly."""
    is_last = images.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if is_last else torch.contiguous_format
    return torch.empty((*images.shape[:2], *size), dtype=images.dtype, memory_format=layout)


def memory_format_of(*tensors: Tensor) -> torch.memory_format:
    """Return channels_last if any of the tensors is, else contiguous: the rule of `F.conv2d`."""
    for tensor in tensors:
        if suggest_memory_format(tensor) == torch.channels_last:
            return torch.channels_last
    return torch.contiguous_format
