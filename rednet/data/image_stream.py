"""A stream of preprocessed images from any number of files, decoded by worker processes."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from rednet.data.image_reading import MAX_PIXELS, read_image
from rednet.data.sources import UnreadableImage

Key = tuple[int, str]
"""Position of an image in the stream, and its path."""


class StreamedImage(NamedTuple):
    """One preprocessed image, or the reason why there is none.

    Attributes:
        position: Position in the stream.
        path: Path of the file.
        image: Image (C, H, W) float32, None if the file cannot be decoded.
        reason: Why the file cannot be decoded, in one line.
    """

    position: int
    path: str
    image: Tensor | None
    reason: str = ""


class StreamedBatch(NamedTuple):
    """Consecutive images of a stream.

    Attributes:
        images: Those that could be decoded, (n, C, H, W) float32, of shape (0,) if there are none.
        items: All of them in order, without their pixels; only those without a `reason` are in
            `images`.
    """

    images: Tensor
    items: list[StreamedImage]


class StreamSampler(Sampler[list[Key]]):
    """Yield the keys of one batch after the other, without a list of all of them.

    Args:
        paths: Function that returns the paths of all images, the same in each process.
        batch_size: Images in a batch of each process.
        rank: Rank of this process, which takes every ``world_size``-th image, from the rank-th.
        world_size: Number of processes.
    """

    def __init__(
        self,
        paths: Callable[[], Iterable[str]],
        batch_size: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.paths, self.batch_size = paths, batch_size
        self.rank, self.world_size = rank, world_size

    def __iter__(self) -> Iterator[list[Key]]:
        keys = islice(enumerate(self.paths()), self.rank, None, self.world_size)
        while batch := list(islice(keys, self.batch_size)):
            yield batch


class StreamedImages(Dataset[StreamedImage]):
    """Preprocessed images, addressed by the keys of a `StreamSampler`."""

    def __init__(
        self, transform: Callable[[Image.Image], Tensor], max_pixels: int = MAX_PIXELS
    ) -> None:
        self.transform, self.max_pixels = transform, max_pixels

    def __getitem__(self, key: Key) -> StreamedImage:
        position, path = key
        try:
            image = read_image(path, self.max_pixels)
        except UnreadableImage as error:
            return StreamedImage(position, path, None, error.reason)
        return StreamedImage(position, path, self.transform(image))


def collate_stream(samples: Sequence[StreamedImage]) -> StreamedBatch:
    """Stack the images that could be decoded."""
    images = [sample.image for sample in samples if sample.image is not None]
    return StreamedBatch(
        torch.stack(images) if images else torch.empty(0),
        [sample._replace(image=None) for sample in samples],
    )
