"""Worker processes that load batches, and the discovery that they no longer do."""

import gc
import multiprocessing.connection
from collections.abc import Iterator, Mapping
from itertools import islice
from multiprocessing.process import BaseProcess
from typing import Any, cast

import torch
from torch.utils.data import DataLoader, Sampler
from torch.utils.data._utils import signal_handling

from rednet.data.dataset import Batch, ImageDataset
from rednet.data.sampling import EvalSampler, Keys, TrainSampler
from rednet.data.shared_batch import collate_to_share
from rednet.data.worker_watch import WatchedDataset, WorkerWatch, describe_state
from rednet.ranks.pulse import PULSE
from rednet.signals import held, obey_parent_only

POLL_S = 0.5
"""Seconds between two looks at the workers while a batch is waited for."""
ENDING_S = 30.0
"""Longest time in seconds between the moment when a worker's files are closed and its end."""


class WorkersLost(Exception):
    """Workers have died, or do not get on.

    Attributes:
        reason: What happened, in words that follow a name or "a data loading worker".
        index: Index of the image that a lost worker had in hand, or None.
    """

    def __init__(self, reason: str, index: int | None) -> None:
        super().__init__(reason, index)
        self.reason, self.index = reason, index


class WorkerPool:
    """Processes with one thread each that load the batches of a sampler, epoch after epoch.

    torch's `DataLoader` does the work. It would raise the error about a dead worker at any point of
    the program, and wait for one that hangs for ever; here both are noticed where a batch is waited
    for.

    Args:
        dataset: The images.
        sampler: The keys of each batch.
        num_workers: Number of processes.
        pin_memory: Whether to put batches where a GPU can fetch them.
        timeout: Seconds without any progress that are too many; None for no limit.
        given_up: Why images are not to be touched, by index.
    """

    def __init__(
        self,
        dataset: ImageDataset,
        sampler: TrainSampler | EvalSampler,
        num_workers: int,
        *,
        pin_memory: bool,
        timeout: float | None,
        given_up: Mapping[int, str],
    ) -> None:
        self.timeout = timeout
        self.poll = POLL_S if timeout is None else min(POLL_S, timeout / 2)
        self._rest = Rest(sampler)
        self._watch = WorkerWatch(num_workers)
        self._workers: list[BaseProcess] = []
        self._iterator: Any = None
        self._loader: DataLoader[Any] = DataLoader(
            WatchedDataset(dataset, self._watch, dict(given_up)),
            batch_sampler=self._rest,
            num_workers=num_workers,
            pin_memory=pin_memory,
            persistent_workers=True,
            collate_fn=collate_to_share,
            worker_init_fn=_start_worker,
            timeout=self.poll,
            # Without it, creating an iterator would take the workers' seed from the global
            # generator.
            generator=torch.Generator(),
        )

    @property
    def seconds_per_image(self) -> float | None:
        """Mean duration of an image in a worker in seconds; None before the first one."""
        return self._watch.seconds_per_image

    def batches(self, start: int) -> Iterator[Batch]:
        """Yield the batches of the sampler from a position on.

        Raises:
            WorkersLost: Workers have died, or do not get on.
        """
        self._rest.start = start
        self._resume()
        for _ in range(len(self._rest)):
            yield self._next()

    def _resume(self) -> None:
        """Start the workers, or ask those that there are for another epoch."""
        self._require_alive()
        # torch's handler would raise the end of a worker as an error in the middle of anything: of
        # this call, of a training step.
        signal_handling._SIGCHLD_handler_set = True
        if self._iterator is not None:  # the answers are not polled for
            self._iterator._timeout = self.timeout or 0
        try:
            with held():  # a worker that has just started must not die of a signal
                self._iterator = iter(self._loader)
        except RuntimeError as error:
            self._explain(error)
            raise self._hung() from error
        self._iterator._timeout = self.poll
        self._workers = self._iterator._workers
        _leave_to_pool(self._iterator)

    def _next(self) -> Batch:
        waited, seen = 0.0, self._watch.snapshot()
        while True:
            try:
                return cast(Batch, next(self._iterator))
            except (RuntimeError, OSError) as error:
                self._explain(error)
            # Not by the clock: a run that was stopped as a whole (Ctrl-Z) has lost no time.
            waited += self.poll
            if (now := self._watch.snapshot()) != seen:
                waited, seen = 0.0, now
                PULSE.beat()
            if self.timeout is not None and waited >= self.timeout:
                raise self._hung()

    def _explain(self, error: Exception) -> None:
        """Raise what an error of torch's loader means, unless it only means that time is up."""
        if isinstance(error, FileNotFoundError):  # a batch of a worker that is about to end
            self._await_end()
        self._require_alive()
        if "timed out" not in str(error):
            raise error

    def _await_end(self) -> None:
        """Wait until a worker that has closed its files has an exit code, a moment later."""
        workers = {process.sentinel: process for process in self._workers}
        for sentinel in multiprocessing.connection.wait(list(workers), ENDING_S):
            workers[sentinel].join(ENDING_S)  # type: ignore[index]

    def _require_alive(self) -> None:
        for worker, process in enumerate(self._workers):
            if process.exitcode is not None:
                reason = self._watch.describe_end(process)
                raise WorkersLost(reason, self._watch.in_hand(worker))

    def _hung(self) -> WorkersLost:
        """Return the loss of the workers that have an image in hand, or else of all."""
        busy = [w for w in range(len(self._workers)) if self._watch.in_hand(w) is not None]
        worker = (busy or [0])[0]
        state = describe_state(self._workers[worker].pid)
        reason = f"{state}, data.timeout={self.timeout:g} seconds have passed"
        return WorkersLost(reason, self._watch.in_hand(worker))

    def close(self) -> None:
        """Kill the workers; one that hangs or is stopped would not end otherwise."""
        for process in self._workers:
            process.kill()
        for process in self._workers:
            process.join(self.poll)  # one that waits for a disk cannot even be killed
        if self._iterator is not None:
            self._forget(self._iterator)

    def _forget(self, iterator: Any) -> None:
        """Do what is left of torch's shutdown, which would wait for locks of killed workers."""
        iterator._shutdown = True
        for queue in (*iterator._index_queues, iterator._worker_result_queue):
            queue.cancel_join_thread()
            queue.close()
        if hasattr(iterator, "_pin_memory_thread"):
            iterator._pin_memory_thread_done_event.set()


class Rest(Sampler[Keys]):
    """The batches of a sampler from a position on.

    Args:
        sampler: The sampler.

    Attributes:
        start: Number of batches to leave out.
    """

    def __init__(self, sampler: TrainSampler | EvalSampler) -> None:
        self.sampler, self.start = sampler, 0

    def __len__(self) -> int:
        return len(self.sampler) - self.start

    def __iter__(self) -> Iterator[Keys]:
        return islice(iter(self.sampler), self.start, None)


def _leave_to_pool(iterator: Any) -> None:
    """Take the workers off torch's list, which a handler that another loader has set goes through.

    It would raise their end as an error in the middle of anything, even when they are closed.
    """
    if iterator._worker_pids_set:
        signal_handling._remove_worker_pids(id(iterator))
        iterator._worker_pids_set = False


def _start_worker(_: int) -> None:
    obey_parent_only()
    # What the parent made is never garbage here: looking at it takes time and copies its pages.
    gc.freeze()
