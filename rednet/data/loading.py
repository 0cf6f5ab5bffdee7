"""Batches from worker processes, without a draw from any global random generator."""

import os

import torch
from torch.utils.data import DataLoader

from rednet.data.dataset import ImageDataset, Sample, collate
from rednet.data.sampling import EvalSampler, TrainSampler


def make_loader(
    dataset: ImageDataset,
    sampler: TrainSampler | EvalSampler,
    *,
    num_workers: int,
    pin_memory: bool = False,
) -> DataLoader[Sample]:
    """Yield a `Batch` for each of the sampler's, in order.

    Workers live on between epochs, with one thread each. Call the sampler's ``set_epoch``
    before iterating: the loader asks it anew each time.
    """
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=num_workers,
        pin_memory=pin_memory,
        persistent_workers=num_workers > 0,
        collate_fn=collate,
        # Its own generator: creating an iterator draws a seed for the workers.
        generator=torch.Generator(),
    )


def default_num_workers() -> int:
    """Return one worker for each core that this process may use, 8 at most."""
    # macOS and Windows know no affinity.
    affinity = getattr(os, "sched_getaffinity", None)
    usable = len(affinity(0)) if affinity else os.cpu_count() or 1
    return min(8, usable)
