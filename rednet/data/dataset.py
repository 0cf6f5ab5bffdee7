"""A data set whose samples depend only on (seed, epoch, index), and its batches."""

import math
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
    """One transformed image, or the reason why there is none.

    Attributes:
        image: Image (C, H, W) float32, or None if it could not be decoded or is not finite.
        target: Class index.
        index: Index in the source.
        unreadable: Name of the image and reason why it could not be decoded, or None.
    """

    image: Tensor | None
    target: int
    index: int
    unreadable: tuple[str, str] | None


class Batch(NamedTuple):
    """The images of a batch that could be decoded, and the names of the others.

    Attributes:
        images: Images (n, C, H, W) float32, of shape (0,) if none could be decoded.
        targets: Class indices (n,) int64.
        indices: Indices in the source (n,) int64.
        unreadable: Name and reason for each image that could not be decoded.
        unreadable_indices: Their indices in the source.
        failure: Why the loader has given up, in which case there are no images; empty otherwise.
    """

    images: Tensor
    targets: Tensor
    indices: Tensor
    unreadable: list[tuple[str, str]]
    unreadable_indices: Sequence[int] = ()
    failure: str = ""

    @classmethod
    def failed(cls, failure: str) -> "Batch":
        """Return an empty batch of a loader that has given up."""
        return collate([])._replace(failure=failure)


class ImageDataset(Dataset[Sample]):
    """Transformed images of a source, addressed by (epoch, index).

    An image that an epoch has again is addressed by (epoch, index, 1), then (epoch, index, 2) and
    so on, and transformed differently.

    The global generators of random, numpy and torch are seeded for each call of the transform and
    restored after it. numpy's is left alone if the transform has ``uses_numpy_random=False``.
    """

    def __init__(
        self, source: ImageSource, transform: Callable[[Image.Image], Tensor], seed: int = 0
    ):
        self.source = source
        self.transform = transform
        self.seed = seed
        self._with_numpy = getattr(transform, "uses_numpy_random", True)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: tuple[int, ...]) -> Sample:
        _, index, *_ = key
        target = int(self.source.targets[index])
        try:
            image = self.source.load(index)
        except UnreadableImage as error:
            return self.lost(index, error.reason)
        with seeded(hash_seed(self.seed, *key), with_numpy=self._with_numpy):
            tensor = self.transform(image)
        # A sum is finite only if all terms are, and much faster than isfinite().all().
        if not math.isfinite(tensor.sum()):
            return self.lost(index, "its pixels are not finite")
        return Sample(tensor, target, index, None)

    def lost(self, index: int, reason: str) -> Sample:
        """Return what stands for an image that there is no tensor of."""
        unreadable = (self.source.name_of(index), reason)
        return Sample(None, int(self.source.targets[index]), index, unreadable)


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack the decoded samples and list the unreadable ones."""
    decoded = [sample for sample in samples if sample.image is not None]
    images = [sample.image for sample in samples if sample.image is not None]
    return Batch(
        images=torch.stack(images) if images else torch.empty(0),
        targets=torch.tensor([sample.target for sample in decoded], dtype=torch.int64),
        indices=torch.tensor([sample.index for sample in decoded], dtype=torch.int64),
        unreadable=[sample.unreadable for sample in samples if sample.unreadable is not None],
        unreadable_indices=[sample.index for sample in samples if sample.unreadable is not None],
    )
