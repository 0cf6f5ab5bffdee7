"""Samplers that give a step the same samples at any number of ranks."""

from collections.abc import Iterator, Sequence
from math import ceil

import torch
from torch import Tensor
from torch.utils.data import Sampler

from rednet.data.ordering import balance, count_earlier, shuffle
from rednet.errors import InputError
from rednet.wording import count

# The keys of one batch: (epoch, index) for each sample, as `ImageDataset` takes them; where an
# epoch has a sample again, (epoch, index, 1), then (epoch, index, 2) and so on.
Keys = list[tuple[int, ...]]


class TrainSampler(Sampler[Keys]):
    """Yield the micro-batches of one training epoch, as (epoch, index) keys.

    Each epoch is a permutation of all samples, or of as many in which each class is equally
    frequent; it is the same on every rank. With ``repeats``, it is the beginning of one, with each
    sample so many times in a row, and as long: the repeated augmentation of Berman et al. 2019
    (https://arxiv.org/abs/1902.05509), by the rule of timm's ``RepeatAugSampler``.

    Step s takes the next ``global_batch`` samples. Rank r takes every ``world_size``-th of them,
    starting at the r-th, and splits them into ``micro_batches(s)`` micro-batches of nearly equal
    size. The last step takes the remaining samples, and repeats some of them only where a
    micro-batch would be empty.

    Attributes:
        global_batch: Number of samples in a full step, over all ranks and micro-batches.
        steps_per_epoch: Number of steps in an epoch, including a smaller last one.
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
        targets: Sequence[int] | None = None,
        repeats: int = 1,
    ):
        """Set up the sampler for one rank.

        Args:
            num_samples: Size of the training set.
            batch_size: Samples in a micro-batch on one rank.
            grad_accum_steps: Micro-batches in a full step.
            rank: Rank whose micro-batches are yielded.
            world_size: Number of ranks.
            seed: Seed of the permutations.
            targets: Class of every sample, to balance the classes; None for every sample once.
            repeats: Times that a sample follows in an epoch that has it.

        Raises:
            InputError: A step needs more samples than the training set has.
        """
        self.num_samples = num_samples
        self.batch_size = batch_size
        self.rank = rank
        self.world_size = world_size
        self.seed = seed
        self.targets = targets
        self.repeats = repeats
        self.global_batch = batch_size * grad_accum_steps * world_size
        if self.global_batch > num_samples:
            raise InputError(
                f"batch_size {batch_size} x grad_accum_steps {grad_accum_steps} x "
                f"{count(world_size, 'process')} = {self.global_batch} is more than "
                f"the {count(num_samples, 'training image')}: reduce one of them"
            )
        self.steps_per_epoch = ceil(num_samples / self.global_batch)
        self.set_epoch(0)

    def set_epoch(self, epoch: int, start_step: int = 0) -> None:
        """Select the epoch to iterate over and the step in it to start from."""
        self.epoch = epoch
        self.start_step = start_step

    def samples_in_step(self, step: int) -> int:
        """Return the number of distinct samples in a step of the epoch, over all ranks."""
        return min(self.global_batch, self.num_samples - step * self.global_batch)

    def micro_batches(self, step: int) -> int:
        """Return the number of micro-batches that each rank has in a step of the epoch."""
        return ceil(ceil(self.samples_in_step(step) / self.world_size) / self.batch_size)

    def smallest_micro_batch(self) -> int:
        """Return the number of samples in the epoch's smallest micro-batch on any rank."""
        last = self.steps_per_epoch - 1
        samples_per_rank = max(1, self.samples_in_step(last) // self.world_size)
        return max(1, samples_per_rank // self.micro_batches(last))

    def __len__(self) -> int:
        """Return the number of micro-batches from ``start_step`` to the end of the epoch."""
        return sum(map(self.micro_batches, range(self.start_step, self.steps_per_epoch)))

    def __iter__(self) -> Iterator[Keys]:
        order = self._order()
        for step in range(self.start_step, self.steps_per_epoch):
            samples = self._rank_samples(order, step)
            for micro_batch in samples.tensor_split(self.micro_batches(step)):
                yield [self._key(*sample) for sample in micro_batch.tolist()]

    def _order(self) -> Tensor:
        """Return index and number of earlier uses of each sample, (num_samples, 2)."""
        samples = torch.arange(self.num_samples)
        if self.targets is not None:
            samples = balance(self.targets, self.seed, self.epoch)
        order = shuffle(samples, self.seed, self.epoch)
        used = ceil(self.num_samples / self.repeats)
        order = order[:used].repeat_interleave(self.repeats)[: self.num_samples]
        return torch.stack([order, count_earlier(order)], dim=1)

    def _key(self, index: int, earlier: int) -> tuple[int, ...]:
        return (self.epoch, index, earlier) if earlier else (self.epoch, index)

    def _rank_samples(self, order: Tensor, step: int) -> Tensor:
        start = step * self.global_batch
        samples = order[start : start + self.global_batch]
        # Every rank needs a sample for each micro-batch, or the ranks would wait for each other.
        needed = self.world_size * self.micro_batches(step)
        if len(samples) < needed:
            samples = samples.repeat(ceil(needed / len(samples)), 1)[:needed]
        return samples[self.rank :: self.world_size]


class EvalSampler(Sampler[Keys]):
    """Yield each sample once, on one rank, in the order of the source, as (0, index) keys.

    Rank r takes every ``world_size``-th sample, starting at the r-th. The ranks' numbers of samples
    may differ by one, and so may their numbers of batches.
    """

    def __init__(self, num_samples: int, batch_size: int, rank: int = 0, world_size: int = 1):
        self.indices = range(rank, num_samples, world_size)
        self.batch_size = batch_size

    def __len__(self) -> int:
        return ceil(len(self.indices) / self.batch_size)

    def __iter__(self) -> Iterator[Keys]:
        for start in range(0, len(self.indices), self.batch_size):
            yield [(0, index) for index in self.indices[start : start + self.batch_size]]
