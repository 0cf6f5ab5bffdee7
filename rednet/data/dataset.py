"""A torch data set whose samples depend on nothing but (seed, epoch, index), and its batches."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from rednet.data.seeding import hash_seed, seeded
from rednet.data.sources import ImageSource, UnreadableImage


@dataclass(frozen=True)
class Sample:
    """One picture; ``image`` is None where it could not be decoded, ``unreadable`` says why."""

    image: Tensor | None
    target: int
    index: int
    unreadable: tuple[str, str] | None


class Batch(NamedTuple):
    """The decoded pictures of a batch, and (name, reason) of the others.

    ``images`` (n, C, H, W) float32, ``targets`` (n,) int64 and ``indices`` (n,) int64, the
    numbers in the source, fit each other; with nothing decoded n is 0 and ``images`` has
    shape (0,).
    """

    images: Tensor
    targets: Tensor
    indices: Tensor
    unreadable: list[tuple[str, str]]


class ImageDataset(Dataset[Sample]):
    """Pictures of a source through a transform, addressed by (epoch, index).

    The global generators of random, numpy and torch are seeded around the transform and
    restored after it. numpy is left alone if the transform has ``draws_from_numpy`` False.
    """

    def __init__(
        self, source: ImageSource, transform: Callable[[Image.Image], Tensor], seed: int = 0
    ):
        self.source = source
        self.transform = transform
        self.seed = seed
        self._with_numpy = getattr(transform, "draws_from_numpy", True)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        epoch, index = key
        target = int(self.source.targets[index])
        try:
            picture = self.source.load(index)
        except UnreadableImage as error:
            return Sample(None, target, index, (error.name, error.reason))
        with seeded(hash_seed(self.seed, epoch, index), with_numpy=self._with_numpy):
            image = self.transform(picture)
        return Sample(image, target, index, None)


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack the samples that could be decoded and list those that could not."""
    decoded = [sample for sample in samples if sample.image is not None]
    images = [sample.image for sample in samples if sample.image is not None]
    return Batch(
        images=torch.stack(images) if images else torch.empty(0),
        targets=torch.tensor([sample.target for sample in decoded], dtype=torch.int64),
        indices=torch.tensor([sample.index for sample in decoded], dtype=torch.int64),
        unreadable=[sample.unreadable for sample in samples if sample.unreadable is not None],
    )
