"""Which samples an update sees, on which rank: the same ones at any number of ranks."""

from collections.abc import Iterator
from math import ceil

import torch
from torch import Tensor
from torch.utils.data import Sampler

from rednet.data.seeding import hash_seed
from rednet.errors import InputError

Keys = list[tuple[int, int]]


class TrainSampler(Sampler[Keys]):
    """Micro-batches of (epoch, index) for training; iterating goes through one epoch.

    Each epoch is a permutation of all samples, the same on every rank. Update u takes the next
    ``global_batch`` of them, rank r every ``world_size``-th of these from the r-th on, in
    ``micro_batches(u)`` parts of nearly equal size. The epoch's last update takes what is left;
    only where that gives some rank an empty part are its own samples repeated.

    Attributes:
        global_batch: samples of a full update, over all ranks and micro-batches.
        steps_per_epoch: the last, smaller update included.
    """

    def __init__(
        self,
        num_samples: int,
        batch_size: int,
        *,
        grad_accum_steps: int = 1,
        rank: int = 0,
        world_size: int = 1,
        seed: int = 0,
    ):
        """Takes ``batch_size`` as the size of a micro-batch on one rank.

        Raises:
            InputError: one update needs more samples than there are.
        """
        self.num_samples = num_samples
        self.batch_size = batch_size
        self.rank = rank
        self.world_size = world_size
        self.seed = seed
        self.global_batch = batch_size * grad_accum_steps * world_size
        if self.global_batch > num_samples:
            raise InputError(
                f"batch_size {batch_size} x grad_accum_steps {grad_accum_steps} x {world_size} "
                f"process(es) = {self.global_batch} is more than the {num_samples} "
                "training images: take less"
            )
        self.steps_per_epoch = ceil(num_samples / self.global_batch)
        self.set_epoch(0)

    def set_epoch(self, epoch: int, start_step: int = 0) -> None:
        """Choose the epoch to iterate over, from its update ``start_step`` on."""
        self.epoch = epoch
        self.start_step = start_step

    def update_size(self, update: int) -> int:
        """Return how many different samples an update of the epoch has, over all ranks."""
        return min(self.global_batch, self.num_samples - update * self.global_batch)

    def micro_batches(self, update: int) -> int:
        """Return into how many parts every rank divides its share of an update."""
        return ceil(ceil(self.update_size(update) / self.world_size) / self.batch_size)

    def smallest_part(self) -> int:
        """Return the size of the smallest micro-batch of an epoch, on any rank."""
        last = self.steps_per_epoch - 1
        share = max(1, self.update_size(last) // self.world_size)
        return max(1, share // self.micro_batches(last))

    def __len__(self) -> int:
        """Micro-batches from ``start_step`` to the end of the epoch."""
        return sum(map(self.micro_batches, range(self.start_step, self.steps_per_epoch)))

    def __iter__(self) -> Iterator[Keys]:
        order = self._permutation()
        for update in range(self.start_step, self.steps_per_epoch):
            for part in self._share(order, update).tensor_split(self.micro_batches(update)):
                yield [(self.epoch, index) for index in part.tolist()]

    def _permutation(self) -> Tensor:
        generator = torch.Generator().manual_seed(hash_seed(self.seed, self.epoch))
        return torch.randperm(self.num_samples, generator=generator)

    def _share(self, order: Tensor, update: int) -> Tensor:
        start = update * self.global_batch
        group = order[start : start + self.global_batch]
        least = self.world_size * self.micro_batches(update)
        if len(group) < least:
            group = group.repeat(ceil(least / len(group)))[:least]
        return group[self.rank :: self.world_size]


class EvalSampler(Sampler[Keys]):
    """Batches of (0, index) in the order of the source: each sample once, on one rank.

    Rank r has every ``world_size``-th sample from the r-th on; ranks may differ by one sample,
    and so by one batch.
    """

    def __init__(self, num_samples: int, batch_size: int, rank: int = 0, world_size: int = 1):
        self.indices = range(rank, num_samples, world_size)
        self.batch_size = batch_size

    def __len__(self) -> int:
        return ceil(len(self.indices) / self.batch_size)

    def __iter__(self) -> Iterator[Keys]:
        for start in range(0, len(self.indices), self.batch_size):
            yield [(0, index) for index in self.indices[start : start + self.batch_size]]
