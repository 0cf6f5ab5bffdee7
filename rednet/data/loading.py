"""Data loaders that leave the global random generators alone."""

import os

import torch
from torch.utils.data import DataLoader

from rednet.data.dataset import ImageDataset, Sample, collate
from rednet.data.sampling import EvalSampler, TrainSampler
from rednet.signals import obey_parent_only


def make_loader(
    dataset: ImageDataset,
    sampler: TrainSampler | EvalSampler,
    *,
    num_workers: int,
    pin_memory: bool = False,
) -> DataLoader[Sample]:
    """Build a loader that yields a `Batch` for each batch of the sampler, in order.

    The worker processes have one thread each and persist between epochs. Call the sampler's
    ``set_epoch`` before each iteration over the loader.
    """
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=num_workers,
        pin_memory=pin_memory,
        persistent_workers=num_workers > 0,
        collate_fn=collate,
        worker_init_fn=_start_worker,
        # Without it, creating an iterator would take the workers' seed from the global generator.
        generator=torch.Generator(),
    )


def _start_worker(_: int) -> None:
    obey_parent_only()


def default_num_workers() -> int:
    """Return the number of cores that this process can use, at most 8."""
    # Not available on macOS and Windows.
    affinity = getattr(os, "sched_getaffinity", None)
    usable = len(affinity(0)) if affinity else os.cpu_count() or 1
    return min(8, usable)
