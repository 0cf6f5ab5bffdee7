"""A plain loader of torch's that leaves the global random generators alone."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from rednet.signals import obey_parent_only


def make_loader(
    dataset: Dataset[Any],
    sampler: Sampler[Any],
    *,
    num_workers: int,
    pin_memory: bool = False,
    collate_fn: Callable[[Sequence[Any]], Any],
) -> DataLoader[Any]:
    """Build a loader that yields a batch for each batch of the sampler, in order.

    The worker processes have one thread each. An error of one is raised here.
    """
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=num_workers,
        pin_memory=pin_memory,
        persistent_workers=num_workers > 0,
        collate_fn=collate_fn,
        worker_init_fn=_start_worker,
        # Without it, creating an iterator would take the workers' seed from the global generator.
        generator=torch.Generator(),
    )


def _start_worker(_: int) -> None:
    obey_parent_only()
