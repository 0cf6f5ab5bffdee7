"""A forward and backward pass that counts for nothing, where a batch has no image.

The ranks of a run exchange buffers and gradients in every pass. A rank that left one out because
none of its images can be read would let the others wait for ever.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn


def stand_in(shape: Sequence[int]) -> Tensor:
    """Return one image (1, C, H, W) in the usual range of values.

    A constant image would have no norm to divide by.
    """
    size = torch.Size([1, *shape])
    return torch.linspace(-1, 1, size.numel()).view(size)


@contextmanager
def frozen_statistics(model: nn.Module) -> Iterator[None]:
    """Let no pass change the buffers of a network, nor those of other ranks.

    Batch normalisation that is synchronised over ranks takes part in their exchange with no sample.
    """
    training = [module for module in model.modules() if module.training and _has_buffers(module)]
    with ExitStack() as stack:
        for module in training:
            if isinstance(module, nn.SyncBatchNorm):
                stack.enter_context(_without_samples(module))
            else:
                module.training = False
                stack.callback(setattr, module, "training", True)
        yield


def _has_buffers(module: nn.Module) -> bool:
    return any(True for _ in module.buffers(recurse=False))


@contextmanager
def _without_samples(norm: nn.SyncBatchNorm) -> Iterator[None]:
    """Hand a module no sample of its input, and pass the input on."""
    inputs: list[Tensor] = []

    def before(_: nn.Module, args: tuple[Any, ...]) -> tuple[Tensor]:
        inputs.append(args[0])
        return (args[0][:0],)

    def after(_: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        return torch.cat([output, inputs.pop()])

    with norm.register_forward_pre_hook(before), norm.register_forward_hook(after):
        yield
