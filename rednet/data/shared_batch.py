"""Hand batches from a worker to its parent in anonymous memory.

torch's own ways need the worker to answer, which one that is stopped never does; they also need
room in /dev/shm, of which containers have little, and an open file for each tensor.
"""

import os
import pickle
from collections import deque
from collections.abc import Sequence
from math import prod
from typing import Any

import torch

from rednet.data.dataset import Batch, Sample, collate

KEPT = 4
"""Batches whose memory a worker keeps open. Its parent asks for two at a time, and opens one before
it asks for another."""

_open_files: deque[int] = deque()


class SharedBatch:
    """A batch whose images lie in memory of the system's; unpickling gives the `Batch`.

    Args:
        batch: The batch.
    """

    def __init__(self, batch: Batch) -> None:
        rest = pickle.dumps(batch._replace(images=torch.empty(0)), protocol=-1)
        self.shape, self.num_bytes = tuple(batch.images.shape), len(rest)
        self.file = os.memfd_create("rednet-batch")
        _open_files.append(self.file)
        while len(_open_files) > KEPT:
            os.close(_open_files.popleft())
        os.write(self.file, rest)
        if batch.images.numel():
            os.ftruncate(self.file, _start(self.num_bytes) + batch.images.nbytes)
            _map(f"/proc/self/fd/{self.file}", self.num_bytes, self.shape).copy_(batch.images)

    def __reduce__(self) -> tuple[Any, ...]:
        return _open, (os.getpid(), self.file, self.num_bytes, self.shape)


def collate_to_share(samples: Sequence[Sample]) -> Any:
    """Collate in a worker, for its parent."""
    batch = collate(samples)
    is_possible = hasattr(os, "memfd_create") and os.path.exists("/proc/self/fd")
    return SharedBatch(batch) if is_possible else batch


def _open(pid: int, file: int, num_bytes: int, shape: Sequence[int]) -> Batch:
    """Open the batch that a process shares; raise an OSError if the process has died."""
    own = os.open(f"/proc/{pid}/fd/{file}", os.O_RDWR)  # from here on the process may die
    with open(own, "rb") as content:
        batch: Batch = pickle.loads(content.read(num_bytes))
        if prod(shape):
            batch = batch._replace(images=_map(f"/proc/self/fd/{own}", num_bytes, shape))
    return batch


def _start(num_bytes: int) -> int:
    """Return where the images begin: at a multiple of 64 bytes."""
    return -(-num_bytes // 64) * 64


def _map(path: str, num_bytes: int, shape: Sequence[int]) -> torch.Tensor:
    """Return the images that a file holds behind the rest."""
    start = _start(num_bytes) // 4
    return torch.from_file(path, shared=True, size=start + prod(shape))[start:].view(*shape)
