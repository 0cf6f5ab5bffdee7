"""The micro-batches of every step, on the device."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from rednet.data import Batch, ImageLoader, TrainSampler
from rednet.runtime import Runtime
from rednet.training.mixing import Mixing
from rednet.training.stand_in import stand_in
from rednet.training.unreadable import UnreadableImages


class MicroBatch(NamedTuple):
    """Samples for one forward pass, on the device.

    Attributes:
        images: Images (n, C, H, W).
        targets: Class indices (n,) or probabilities (n, classes).
        indices: Indices in the source, on the host.
        failure: Why there are no images any more, empty if there are.

    One without samples has an image without a target, which stands in for them; see `stand_in`.
    """

    images: Tensor
    targets: Tensor
    indices: Sequence[int] = ()
    failure: str = ""


@dataclass(frozen=True)
class TrainBatches:
    """Loads the training images step by step, moves them to the device, and blends them.

    Attributes:
        sampler: Samples of every step.
        loader: Micro-batches in the sampler's order.
        runtime: Device and precision.
        unreadable: The images that cannot be read.
        image_shape: Channels, height and width.
        mixing: Mixup and CutMix, if on.
    """

    sampler: TrainSampler
    loader: ImageLoader
    runtime: Runtime
    unreadable: UnreadableImages
    image_shape: Sequence[int]
    mixing: Mixing | None = None

    def steps_of_epoch(self, epoch: int, start: int = 0) -> Iterator[list[MicroBatch]]:
        """Yield the micro-batches of each step of an epoch; both are counted from 0.

        Each rank has the same number of them in a step, even if it has no images for some.
        """
        if start == self.sampler.steps_per_epoch:
            return
        self.sampler.set_epoch(epoch, start)
        batches = iter(self.loader)
        for step in range(start, self.sampler.steps_per_epoch):
            loaded = [next(batches) for _ in range(self.sampler.micro_batches(step))]
            yield self._place(loaded, epoch * self.sampler.steps_per_epoch + step)

    def images_before(self, global_step: int) -> int:
        """Return how many images a run has seen before a step."""
        epochs, steps = divmod(global_step, self.sampler.steps_per_epoch)
        images = min(steps * self.sampler.global_batch, self.sampler.num_samples)
        return epochs * self.sampler.num_samples + images

    def names(self, batches: Sequence[MicroBatch]) -> list[str]:
        """Return the names of the images in micro-batches."""
        source = self.loader.dataset.source
        return [source.name_of(index) for batch in batches for index in batch.indices]

    def _place(self, loaded: Sequence[Batch], global_step: int) -> list[MicroBatch]:
        self.unreadable.add(loaded)
        return [
            self._place_one(batch, global_step, index)
            if len(batch.targets)
            else self._place_stand_in(batch)
            for index, batch in enumerate(loaded)
        ]

    def _place_stand_in(self, batch: Batch) -> MicroBatch:
        images = self.runtime.place_images(stand_in(self.image_shape))
        return MicroBatch(images, batch.targets.to(self.runtime.device), failure=batch.failure)

    def _place_one(self, batch: Batch, global_step: int, index: int) -> MicroBatch:
        images = self.runtime.place_images(batch.images, batch.normalization)
        targets = batch.targets.to(self.runtime.device, non_blocking=True)
        if self.mixing is not None:
            images, targets = self.mixing(images, targets, global_step, index)
        return MicroBatch(images, targets, batch.indices.tolist())
