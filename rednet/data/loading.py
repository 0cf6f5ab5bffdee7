"""A data loader that outlives its workers and leaves the global random generators alone."""

import os
from collections.abc import Callable, Iterator
from math import ceil

import torch
from torch.utils.data import DataLoader

from rednet.cgroup import core_limit
from rednet.data.dataset import Batch, ImageDataset, collate
from rednet.data.sampling import EvalSampler, TrainSampler
from rednet.data.worker_pool import Rest, WorkerPool, WorkersLost
from rednet.free_memory import processes_here
from rednet.memory import explain, is_out_of_memory
from rednet.program import say

GIVE_UP_AFTER = 2
"""Workers that an image may cost before it counts as unreadable."""


class ImageLoader:
    """Yields a `Batch` for each batch of a sampler, in order, whatever becomes of its workers.

    When a worker dies, or none gets on with an image for a time, all are replaced and continue with
    the batch that was waited for. A sample depends on seed, epoch and index only, so nothing
    changes. An image that costs a second worker counts as unreadable.

    Once all replacements are used up, or there is no memory, the remaining batches are empty, and
    their `failure` says why. The loader does not raise: in a run of several processes the others
    would wait for this one for ever.

    Call the sampler's ``set_epoch`` before each iteration.

    Args:
        dataset: The images.
        sampler: The keys of each batch.
        num_workers: Number of worker processes, which persist between epochs; 0 to load here.
        pin_memory: Whether to put batches where a GPU can fetch them.
        timeout: Seconds without any progress after which workers are replaced; None for no limit.
        max_restarts: How often workers may be replaced.

    Attributes:
        restarts: How often workers were replaced.
        failure: Why the loader has given up; empty if it has not.
        before_restart: Called before workers are replaced.
    """

    def __init__(
        self,
        dataset: ImageDataset,
        sampler: TrainSampler | EvalSampler,
        *,
        num_workers: int,
        pin_memory: bool = False,
        timeout: float | None = None,
        max_restarts: int = 0,
    ) -> None:
        self.dataset, self.sampler, self.num_workers = dataset, sampler, num_workers
        self.pin_memory, self.timeout, self.max_restarts = pin_memory, timeout, max_restarts
        self.restarts, self.failure = 0, ""
        self.before_restart: Callable[[], None] = lambda: None
        self._pool: WorkerPool | None = None
        self._costs: dict[int, int] = {}  # workers that an image has cost, by index
        self._given_up: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Batch]:
        done = 0
        while done < len(self) and not self.failure:
            try:
                for batch in self._batches(done):
                    done += 1
                    yield batch
            except WorkersLost as lost:
                self._replace(lost)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                self.failure = explain(error, self.sampler.batch_size, self.num_workers)
        for _ in range(done, len(self)):
            yield Batch.failed(self.failure)

    def _batches(self, start: int) -> Iterator[Batch]:
        if self.num_workers:
            if self._pool is None:
                self._pool = self._make_pool()
            return self._pool.batches(start)
        rest = Rest(self.sampler)
        rest.start = start
        return iter(
            DataLoader(
                self.dataset,
                batch_sampler=rest,
                pin_memory=self.pin_memory,
                collate_fn=collate,
                generator=torch.Generator(),  # instead of the global one, which would move on
            )
        )

    def _make_pool(self) -> WorkerPool:
        return WorkerPool(
            self.dataset,
            self.sampler,
            self.num_workers,
            pin_memory=self.pin_memory,
            timeout=self.timeout,
            given_up=self._given_up,
        )

    @property
    def seconds_per_image(self) -> float | None:
        """Mean duration of an image in a worker in seconds; None if not known."""
        return self._pool.seconds_per_image if self._pool is not None else None

    def __enter__(self) -> "ImageLoader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the workers, also those that are stopped."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def _replace(self, lost: WorkersLost) -> None:
        """Say what became of the workers, and make room for new ones or give up."""
        self.close()
        what = f"a data loading worker {lost.reason}"
        if lost.index is not None:
            what += f", while it read {self.dataset.source.name_of(lost.index)}"
            self._charge(lost.index, lost.reason)
        if self.restarts == self.max_restarts:
            self.failure = f"{what}; data.max_worker_restarts={self.max_restarts} are used up"
            return
        self.restarts += 1
        say(f"warning: {what}; new ones continue ({self.restarts} of {self.max_restarts})")
        self.before_restart()

    def _charge(self, index: int, reason: str) -> None:
        """Count a lost worker against the image that it had in hand."""
        self._costs[index] = self._costs.get(index, 0) + 1
        if self._costs[index] == GIVE_UP_AFTER:
            self._given_up[index] = f"it has cost {GIVE_UP_AFTER} workers: the last one {reason}"


def default_num_workers() -> int:
    """Return the number of cores that this process can use, at most 8."""
    return min(8, usable_cores())


def usable_cores() -> int:
    """Return this process's share of the cores that it may use.

    The other processes that `torchrun` started on this machine have the same share.
    """
    # Not available on macOS and Windows.
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    limit = core_limit()
    if limit is not None:
        cores = min(cores, ceil(limit))
    return max(1, cores // processes_here())
