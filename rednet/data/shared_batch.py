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
    """A batch whose images are in memory of the system's; unpickling gives the `Batch`.

    The file begins with the images, which are stacked there without another copy.

    Args:
        samples: The samples of the batch.
    """

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.file = os.memfd_create("rednet-batch")
        _open_files.append(self.file)
        while len(_open_files) > KEPT:
            os.close(_open_files.popleft())
        batch = collate(samples, self._allocate)
        images = batch.images
        self.layout = tuple(images.shape), images.stride(), images.dtype
        self.rest = images.nbytes
        content = pickle.dumps(batch._replace(images=torch.empty(0)), protocol=-1)
        os.lseek(self.file, self.rest, os.SEEK_SET)
        os.write(self.file, content)

    def _allocate(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        path, size = f"/proc/self/fd/{self.file}", prod(shape)
        return torch.from_file(path, shared=True, size=size, dtype=dtype).view(shape)

    def __reduce__(self) -> tuple[Any, ...]:
        return _open, (os.getpid(), self.file, self.rest, self.layout)


def collate_to_share(samples: Sequence[Sample]) -> Any:
    """Collate in a worker, for its parent."""
    is_possible = hasattr(os, "memfd_create") and os.path.exists("/proc/self/fd")
    return SharedBatch(samples) if is_possible else collate(samples)


def _open(pid: int, file: int, rest: int, layout: tuple[Any, ...]) -> Batch:
    """Open the batch that a process shares; raise an OSError if the process has died."""
    own = os.open(f"/proc/{pid}/fd/{file}", os.O_RDWR)  # from here on the process may die
    shape, strides, dtype = layout
    with open(own, "rb") as content:
        content.seek(rest)
        batch: Batch = pickle.loads(content.read())
        if prod(shape):
            path = f"/proc/self/fd/{own}"
            memory = torch.from_file(path, shared=True, size=prod(shape), dtype=dtype)
            batch = batch._replace(images=memory.as_strided(shape, strides))
    return batch
