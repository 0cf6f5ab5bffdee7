"""The sliding window of an involution: its arithmetic, and the checks that need it."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch._prims_common import suggest_memory_format


@dataclass(frozen=True)
class Window:
    """Kernel size, stride, zero padding and dilation, each the same in both directions."""

    kernel_size: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1

    def __post_init__(self) -> None:
        for name in ("kernel_size", "stride", "dilation"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.padding < 0:
            raise ValueError(f"padding must not be negative, got {self.padding}")

    @property
    def area(self) -> int:
        """Number of taps, K*K."""
        return self.kernel_size * self.kernel_size

    def output_size(self, size: int) -> int:
        """Number of outputs along a side of `size` pixels, as `torch.nn.functional.conv2d`."""
        reach = self.dilation * (self.kernel_size - 1)
        return (size + 2 * self.padding - reach - 1) // self.stride + 1

    def taps(self, height: int, width: int) -> Iterator[tuple[int, slice, slice]]:
        """For every tap its index and the rows and columns of the padded input it meets.

        Args:
            height: Number of output rows.
            width: Number of output columns.
        """
        rows, columns = (self.stride * (size - 1) + 1 for size in (height, width))
        for tap in range(self.area):
            top, left = (self.dilation * offset for offset in divmod(tap, self.kernel_size))
            yield (
                tap,
                slice(top, top + rows, self.stride),
                slice(left, left + columns, self.stride),
            )


def check_pair(first: Tensor, second: Tensor, names: tuple[str, str]) -> None:
    """Raises ValueError unless both are 4-D floating tensors of one batch, dtype and device."""
    for tensor, name in zip((first, second), names, strict=True):
        if tensor.dim() != 4:
            raise ValueError(f"{name} must have 4 dimensions, got shape {tuple(tensor.shape)}")
        if not tensor.is_floating_point():
            raise ValueError(f"{name} must be a floating-point tensor, got {tensor.dtype}")
    for what in ("dtype", "device"):
        one, other = getattr(first, what), getattr(second, what)
        if one != other:
            raise ValueError(f"{names[0]} and {names[1]} must have one {what}, got {one}, {other}")
    if first.shape[0] != second.shape[0]:
        raise ValueError(
            f"{names[0]} and {names[1]} must have one batch size, "
            f"got {first.shape[0]} and {second.shape[0]}"
        )


def check_sizes(input_size: torch.Size, output_size: torch.Size, window: Window) -> None:
    """Raises ValueError unless an (H, W) input under `window` gives the (Ho, Wo) output."""
    expected = tuple(window.output_size(size) for size in input_size)
    if any(size < 1 for size in expected):
        raise ValueError(f"input of {tuple(input_size)} pixels is smaller than {window}")
    if expected != tuple(output_size):
        raise ValueError(
            f"input of {tuple(input_size)} pixels under {window} has {expected} outputs, "
            f"got a tensor for {tuple(output_size)}"
        )


def groups_of(weight: Tensor, channels: int, window: Window) -> int:
    """Number of groups G of a (N, G*K*K, Ho, Wo) weight; ValueError where C does not fit it."""
    groups = weight.shape[1] // window.area
    if groups == 0 or weight.shape[1] % window.area:
        raise ValueError(
            f"weight must have a multiple of K*K = {window.area} channels, got {weight.shape[1]}"
        )
    check_groups(channels, groups)
    return groups


def check_groups(channels: int, groups: int) -> None:
    """Raises ValueError unless `channels` divide into `groups`."""
    if groups < 1 or channels % groups:
        raise ValueError(f"{channels} channels do not divide into {groups} groups")


def empty_result(first: Tensor, second: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A fresh tensor for what an operator makes of two, in their dtype, device and layout."""
    layout = memory_format_of(first, second)
    return torch.empty(shape, dtype=first.dtype, device=first.device, memory_format=layout)


def memory_format_of(*tensors: Tensor) -> torch.memory_format:
    """Channels_last if any of the tensors is, contiguous otherwise (the rule of conv2d)."""
    for tensor in tensors:
        if suggest_memory_format(tensor) == torch.channels_last:
            return torch.channels_last
    return torch.contiguous_format
