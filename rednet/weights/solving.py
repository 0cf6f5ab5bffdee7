"""Solve for the options of a RedNet that give the channel counts of its tensors."""

from collections.abc import Sequence
from math import gcd, isqrt

from rednet.layers.involution import count_groups
from rednet.models.stages import round_width
from rednet.models.variants import WIDTH_DIVISOR

KERNEL_SIZE, GROUP_CHANNELS, REDUCTION = 7, 16, 4
"""The paper's options, preferred to other solutions."""
WIDTH_DENOMINATORS = (1, 2, 4, 8, 10, 20, 32, 64, 100, 1000)

Widths = tuple[int, int]
"""Channels of a layer in a network of width 1, and its channels here."""
KernelOptions = tuple[int, int | str]
"""The options `kernel_size` and `group_channels`."""


def solve_width(widths: Sequence[Widths]) -> float:
    """Return the roundest multiplier that gives these widths, the smallest of equally round ones.

    Raises:
        LookupError: No multiplier gives these widths.
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
    """Return the kernel size and group channels for which G * K * K is `outputs` in every stage.

    Of several solutions, return the one closest to the paper's K = 7 and groups of 16.

    Args:
        channels: Channels of the involutions, by stage.
        outputs: Kernel weights per pixel, by stage.

    Raises:
        LookupError: There is no solution.
    """
    solutions = possible_kernel_options(channels, outputs)
    if not solutions:
        raise LookupError("no kernel size and groups give these outputs")
    return min(solutions, key=lambda found: (found[0] != KERNEL_SIZE, found[1] != GROUP_CHANNELS))


def possible_kernel_options(channels: Sequence[int], outputs: Sequence[int]) -> list[KernelOptions]:
    """Return all solutions of `solve_kernel_options`."""
    shared = gcd(*channels)
    divisors = [number for number in range(1, shared + 1) if shared % number == 0]
    choices: list[int | str] = ["layer", *divisors]
    solutions = []
    for group_channels in choices:
        groups = [count_groups(width, group_channels) for width in channels]
        sizes = {
            kernel_size_from_channels(out, count)
            for out, count in zip(outputs, groups, strict=True)
        }
        if len(sizes) == 1 and (kernel_size := sizes.pop()):
            solutions.append((kernel_size, group_channels))
    return solutions


def kernel_size_from_channels(outputs: int, groups: int) -> int:
    """Return the odd K with groups * K * K == outputs, 0 if there is none."""
    root = isqrt(outputs // groups)
    return root if root % 2 and root**2 * groups == outputs else 0


def solve_reduction(channels: Sequence[int], reduced: Sequence[int]) -> int:
    """Return the reduction from `channels` to `reduced`.

    Of several solutions, prefer the paper's, then powers of 2, then the smallest.

    Raises:
        LookupError: There is no solution.
    """
    every = range(1, max(channels) + 1)
    powers = [reduction for reduction in every if reduction.bit_count() == 1]
    for reduction in (REDUCTION, *powers, *every):
        if [max(1, width // reduction) for width in channels] == list(reduced):
            return reduction
    raise LookupError("no reduction gives these widths")
