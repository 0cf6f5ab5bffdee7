"""Find images that cannot be read, before they are needed."""

from PIL import Image
from torch import Tensor

from rednet.data.dataset import ImageDataset, Sample
from rednet.data.loading import ImageLoader
from rednet.data.sampling import EvalSampler
from rednet.data.sources import ImageSource, UnreadableImage

CHUNK = 256
"""Images that a worker reports on together."""
FEW = 4000
"""Headers that this process has read before workers have even started."""


class _Check(ImageDataset):
    """Samples without images: only whether they could be read."""

    def __init__(self, source: ImageSource, *, full: bool) -> None:
        super().__init__(source, transform=_no_transform)
        self.full = full

    def __getitem__(self, key: tuple[int, ...]) -> Sample:
        index = key[1]
        try:
            if self.full:
                self.source.load(index)
            else:
                self.source.check(index)
        except UnreadableImage as error:
            return self.lost(index, error.reason)
        return Sample(None, int(self.source.targets[index]), index, None)


def _no_transform(_: Image.Image) -> Tensor:
    raise AssertionError("images are only read")


def make_check(
    source: ImageSource,
    *,
    full: bool,
    rank: int,
    world_size: int,
    num_workers: int,
    timeout: float | None,
    max_restarts: int,
) -> ImageLoader:
    """Build a loader whose batches have no images, only the unreadable ones of this rank's share.

    Args:
        source: The images.
        full: Whether to decode them; otherwise only their headers are read.
        rank: Rank of this process.
        world_size: Number of processes.
        num_workers: Number of workers; few headers are read in this process.
        timeout: As for `ImageLoader`.
        max_restarts: As for `ImageLoader`.
    """
    sampler = EvalSampler(len(source), CHUNK, rank, world_size)
    is_quick = not full and len(sampler.indices) <= FEW
    return ImageLoader(
        _Check(source, full=full),
        sampler,
        num_workers=0 if is_quick else num_workers,
        timeout=timeout,
        max_restarts=max_restarts,
    )
