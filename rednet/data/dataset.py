"""A data set whose samples depend only on (seed, epoch, index), and its batches."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from rednet.data.normalization import Normalization
from rednet.data.seeding import hash_seed, seeded
from rednet.data.sources import ImageSource, UnreadableImage, open_image

Allocate = Callable[..., Tensor]


@dataclass(frozen=True)
class Sample:
    """One transformed image, or the reason why there is none.

    Attributes:
        image: Image (C, H, W), uint8 if `normalization` has yet to be applied and float32
            otherwise; None if it could not be decoded or is not finite.
        target: Class index.
        index: Index in the source.
        unreadable: Name of the image and reason why it could not be decoded, or None.
        normalization: What makes pixels of 8 bits the network's input, or None.
    """

    image: Tensor | None
    target: int
    index: int
    unreadable: tuple[str, str] | None
    normalization: Normalization | None = None


class Batch(NamedTuple):
    """The images of a batch that could be decoded, and the names of the others.

    Attributes:
        images: Images (n, C, H, W), uint8 if there is a `normalization` and float32 otherwise; of
            shape (0,) if none could be decoded.
        targets: Class indices (n,) int64.
        indices: Indices in the source (n,) int64.
        unreadable: Name and reason for each image that could not be decoded.
        unreadable_indices: Their indices in the source.
        failure: Why the loader has given up, in which case there are no images; empty otherwise.
        normalization: What makes the images the network's input, on the device, or None.
    """

    images: Tensor
    targets: Tensor
    indices: Tensor
    unreadable: list[tuple[str, str]]
    unreadable_indices: Sequence[int] = ()
    failure: str = ""
    normalization: Normalization | None = None

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

    def __init__(self, source: ImageSource, transform: Callable[[Any], Tensor], seed: int = 0):
        self.source = source
        self.transform = transform
        self.seed = seed
        self._with_numpy = getattr(transform, "uses_numpy_random", True)
        self._opens = getattr(transform, "takes_files", False)
        self._normalization: Normalization | None = getattr(transform, "normalization", None)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: tuple[int, ...]) -> Sample:
        _, index, *_ = key
        target = int(self.source.targets[index])
        try:
            image = open_image(self.source, index) if self._opens else self.source.load(index)
            with seeded(hash_seed(self.seed, *key), with_numpy=self._with_numpy):
                tensor = self._apply(image)
        except UnreadableImage as error:
            return self.lost(index, error.reason)
        if self._normalization is not None:
            return Sample(tensor, target, index, None, self._normalization)
        # A sum is finite only if all terms are, and much faster than isfinite().all().
        if not math.isfinite(tensor.sum()):
            return self.lost(index, "its pixels are not finite")
        return Sample(tensor, target, index, None)

    def _apply(self, image: Any) -> Tensor:
        # Pixels are a quarter of the bytes to collate, hand over and upload.
        to_pixels = self._normalization is not None
        transform: Any = self.transform
        tensor: Tensor = transform.to_pixels(image) if to_pixels else transform(image)
        return tensor

    def lost(self, index: int, reason: str) -> Sample:
        """Return what stands for an image that there is no tensor of."""
        unreadable = (self.source.name_of(index), reason)
        return Sample(None, int(self.source.targets[index]), index, unreadable)


def collate(samples: Sequence[Sample], allocate: Allocate = torch.empty) -> Batch:
    """Stack the decoded samples and list the unreadable ones.

    Args:
        samples: The samples.
        allocate: Returns the memory for the images, by shape and dtype.
    """
    decoded = [sample for sample in samples if sample.image is not None]
    images = [sample.image for sample in samples if sample.image is not None]
    return Batch(
        images=_stack(images, allocate) if images else torch.empty(0),
        targets=torch.tensor([sample.target for sample in decoded], dtype=torch.int64),
        indices=torch.tensor([sample.index for sample in decoded], dtype=torch.int64),
        unreadable=[sample.unreadable for sample in samples if sample.unreadable is not None],
        unreadable_indices=[sample.index for sample in samples if sample.unreadable is not None],
        normalization=decoded[0].normalization if decoded else None,
    )


def _stack(images: list[Tensor], allocate: Allocate) -> Tensor:
    """Stack images (C, H, W) into the memory of (n, H, W, C) if they are pixels."""
    is_pixels = images[0].dtype == torch.uint8
    if is_pixels:
        images = [image.permute(1, 2, 0) for image in images]
    memory = allocate((len(images), *images[0].shape), dtype=images[0].dtype)
    stacked = torch.stack(images, out=memory)
    return stacked.permute(0, 3, 1, 2) if is_pixels else stacked
