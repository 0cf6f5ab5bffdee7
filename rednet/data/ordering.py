"""The order of the samples of an epoch, a function of seed and epoch."""

from collections.abc import Sequence

import torch
from torch import Tensor

from rednet.data.seeding import hash_seed


def shuffle(samples: Tensor, seed: int, epoch: int) -> Tensor:
    """Return the samples in an epoch's order."""
    generator = torch.Generator().manual_seed(hash_seed(seed, epoch))
    return samples[torch.randperm(len(samples), generator=generator)]


def balance(targets: Sequence[int], seed: int, epoch: int) -> Tensor:
    """Select as many samples as there are, of each class equally many (they may differ by one).

    The samples of a class are used equally often, too: of a large class a part that changes from
    epoch to epoch, of a small one all, repeatedly. Classes without samples are left out.

    Args:
        targets: Class index of every sample.
        seed: Seed of the selection.
        epoch: Number of the epoch.

    Returns:
        Indices of the selected samples, in ascending order.
    """
    generator = torch.Generator().manual_seed(hash_seed(seed, epoch, 1))
    classes, sizes = torch.as_tensor(targets).unique(return_counts=True)
    by_class = torch.as_tensor(targets).argsort(stable=True).split(sizes.tolist())
    shares = torch.full_like(sizes, len(targets) // len(classes))
    one_more = torch.randperm(len(classes), generator=generator)[: len(targets) % len(classes)]
    shares[one_more] += 1
    selected = [
        _repeat(members, share, generator)
        for members, share in zip(by_class, shares.tolist(), strict=True)
    ]
    return torch.cat(selected).sort().values


def _repeat(members: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return `count` of the members, each one equally often or once more."""
    times, rest = divmod(count, len(members))
    chosen = torch.randperm(len(members), generator=generator)[:rest]
    return torch.cat([members.repeat(times), members[chosen]])


def count_earlier(values: Tensor) -> Tensor:
    """Return, for each position, how many earlier positions have the same value."""
    order = values.argsort(stable=True)
    _, counts = values.unique(return_counts=True)
    starts = counts.cumsum(0) - counts
    earlier = torch.empty_like(order)
    earlier[order] = torch.arange(len(values)) - starts.repeat_interleave(counts)
    return earlier
