"""The numbers of a RedNet that give the channels which its tensors have."""

from collections.abc import Sequence
from math import gcd, isqrt

from rednet.layers.involution import count_groups
from rednet.models.blocks import round_width
from rednet.models.variants import WIDTH_DIVISOR

KERNEL_SIZE, GROUP_CHANNELS, REDUCTION = 7, 16, 4
"""The paper's, which go before other solutions."""
WIDTH_DENOMINATORS = (1, 2, 4, 8, 10, 20, 32, 64, 100, 1000)

Widths = tuple[int, int]
"""Channels in a network of width 1, and here."""
KernelOptions = tuple[int, int | str]
"""K, and the channels of a group."""


def solve_width(widths: Sequence[Widths]) -> float:
    """The roundest multiplier that gives these widths, the smallest of equally round ones.

    Raises:
        LookupError: There is none.
    """
    nominal, actual = max(widths)
    for denominator in WIDTH_DENOMINATORS:
        lowest = (actual - WIDTH_DIVISOR) * denominator // nominal
        highest = (actual + WIDTH_DIVISOR) * denominator // nominal
        for numerator in range(max(1, lowest), highest + 1):
            width = numerator / denominator
            if all(round_width(channels, width) == found for channels, found in widths):
                return width
    raise LookupError("no multiplier gives these widths")


def solve_kernel_options(channels: Sequence[int], outputs: Sequence[int]) -> KernelOptions:
    """K and the channels of a group, which give G*K*K outputs in each stage.

    Of several solutions it is the one nearest to the paper's K = 7 and groups of 16.

    Raises:
        LookupError: There is none.
    """
    windows = possible_kernel_options(channels, outputs)
    if not windows:
        raise LookupError("no window and groups give these outputs")
    return min(windows, key=lambda found: (found[0] != KERNEL_SIZE, found[1] != GROUP_CHANNELS))


def possible_kernel_options(channels: Sequence[int], outputs: Sequence[int]) -> list[KernelOptions]:
    """All such K and channels of a group."""
    shared = gcd(*channels)
    divisors = [number for number in range(1, shared + 1) if shared % number == 0]
    candidates: list[int | str] = ["layer", *divisors]
    windows = []
    for group_channels in candidates:
        groups = [count_groups(width, group_channels) for width in channels]
        sizes = {
            kernel_size_from_channels(out, count)
            for out, count in zip(outputs, groups, strict=True)
        }
        if len(sizes) == 1 and (kernel_size := sizes.pop()):
            windows.append((kernel_size, group_channels))
    return windows


def kernel_size_from_channels(outputs: int, groups: int) -> int:
    """The odd K of which `outputs` are K*K in each group, 0 if there is none."""
    root = isqrt(outputs // groups)
    return root if root % 2 and root**2 * groups == outputs else 0


def solve_reduction(channels: Sequence[int], narrow: Sequence[int]) -> int:
    """The reduction that narrows channels like this: the paper's, a power of 2, or the smallest.

    Raises:
        LookupError: There is none.
    """
    every = range(1, max(channels) + 1)
    powers = [reduction for reduction in every if reduction.bit_count() == 1]
    for reduction in (REDUCTION, *powers, *every):
        if [max(1, width // reduction) for width in channels] == list(narrow):
            return reduction
    raise LookupError("no reduction gives these widths")
