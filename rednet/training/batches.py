"""The micro-batches of every step, on the device."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor
from torch.utils.data import DataLoader

from rednet.data import Batch, TrainSampler
from rednet.errors import InputError
from rednet.evaluation import describe_unreadable
from rednet.runtime import Runtime
from rednet.signals import held
from rednet.training.mixing import Mixing
from rednet.training.unreadable import UnreadableImages


class MicroBatch(NamedTuple):
    """Samples for one forward pass, on the device.

    Attributes:
        images: Images (n, C, H, W).
        targets: Class indices (n,) or probabilities (n, classes).
        indices: Indices in the source, on the host.
    """

    images: Tensor
    targets: Tensor
    indices: Sequence[int] = ()


@dataclass(frozen=True)
class TrainBatches:
    """Loads the training images step by step, moves them to the device, and blends them.

    Attributes:
        sampler: Samples of every step.
        loader: Micro-batches in the sampler's order.
        runtime: Device and precision.
        unreadable: Count of the images that cannot be read.
        mixing: Mixup and CutMix, if on.
    """

    sampler: TrainSampler
    loader: DataLoader[Any]
    runtime: Runtime
    unreadable: UnreadableImages
    mixing: Mixing | None = None

    def steps_of_epoch(self, epoch: int, start: int = 0) -> Iterator[list[MicroBatch]]:
        """Yield the micro-batches of each step of an epoch; both are counted from 0."""
        if start == self.sampler.steps_per_epoch:
            return
        self.sampler.set_epoch(epoch, start)
        with held():  # a worker that has just started must not die of a signal
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
        source = self.loader.dataset.source  # type: ignore[attr-defined]
        return [source.name_of(index) for batch in batches for index in batch.indices]

    def _place(self, loaded: Sequence[Batch], global_step: int) -> list[MicroBatch]:
        unreadable = [image for batch in loaded for image in batch.unreadable]
        self.unreadable.add(unreadable)
        batches = [
            self._place_one(batch, global_step, index)
            for index, batch in enumerate(loaded)
            if len(batch.targets)
        ]
        if not batches:
            raise InputError(
                f"a whole batch is lost: {describe_unreadable(unreadable)}; repair or remove them"
            )
        return batches

    def _place_one(self, batch: Batch, global_step: int, index: int) -> MicroBatch:
        images = self.runtime.place_images(batch.images)
        targets = batch.targets.to(self.runtime.device, non_blocking=True)
        if self.mixing is not None:
            images, targets = self.mixing(images, targets, global_step, index)
        return MicroBatch(images, targets, batch.indices.tolist())
