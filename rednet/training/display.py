"""What people look at during a run: the first training images, and the worst mistakes."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from PIL import Image, ImageOps
from torch import Tensor

from rednet.training.batches import MicroBatch
from rednet.training.mistakes import Mistake
from rednet.wording import count, printable

MAX_TRAIN_IMAGES = 32
THUMBNAIL = 160
"""Largest side of the file of a mistake in pixels."""


@dataclass(frozen=True)
class Display:
    """Makes images of tensors.

    Attributes:
        class_names: Names of the classes, by class index.
        mean: Mean of each channel that the network's input was normalised by.
        std: Standard deviation of each channel.
    """

    class_names: Sequence[str] = ()
    mean: Sequence[float] = (0.0,)
    std: Sequence[float] = (1.0,)

    def image(self, tensor: Tensor) -> Image.Image:
        """Return an image (C, H, W), of pixels or of the network's input, on the host."""
        if tensor.dtype != torch.uint8:
            mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (self.mean, self.std))
            tensor = (tensor.float() * std + mean).clamp(0, 1).mul(255).round().byte()
        pixels = tensor.permute(1, 2, 0).contiguous().numpy()
        return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)

    def thumbnail(self, tensor: Tensor) -> bytes:
        """Return a JPEG file of an image (C, H, W), with at most 160 pixels a side."""
        image, content = self.image(tensor), io.BytesIO()
        if max(image.size) > THUMBNAIL:
            image = ImageOps.contain(image, (THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
        image.save(content, "JPEG", quality=90)
        return content.getvalue()

    def train_grid(self, batches: Sequence[MicroBatch]) -> Image.Image | None:
        """Return the first images that a step trains on, with their labels; None without any."""
        from rednet.loggers.grid import Tile, draw_grid  # loads matplotlib, for its fonts

        pairs = ((b.images[i], b.targets[i]) for b in batches for i in range(len(b.targets)))
        tiles = [
            Tile(self.image(image.detach().cpu()), self.describe_target(target.cpu()))
            for image, target in islice(pairs, MAX_TRAIN_IMAGES)
        ]
        if not tiles:
            return None
        total = sum(len(batch.targets) for batch in batches)
        return draw_grid(tiles, f"first step: {len(tiles)} of {count(total, 'training image')}")

    def mistakes_grid(self, mistakes: Sequence[Mistake], epoch: int) -> Image.Image:
        """Return the worst mistakes of an evaluation with labels, predictions and losses."""
        from rednet.loggers.grid import Tile, draw_grid

        names = [printable(name) for name in self.class_names]
        tiles = [
            Tile(
                Image.open(io.BytesIO(mistake.jpeg)),
                (
                    f"label: {names[mistake.target]}",
                    f"predicted: {names[mistake.prediction]}",
                    f"{100 * mistake.confidence:.0f} % sure, loss {mistake.loss:.2f}",
                ),
            )
            for mistake in mistakes
        ]
        return draw_grid(tiles, f"epoch {epoch}: the {count(len(tiles), 'worst mistake')}")

    def describe_target(self, target: Tensor) -> list[str]:
        """Return the class of an index, or the two that stand out of probabilities (classes,)."""
        if target.ndim == 0:
            return [self.class_names[int(target)]]
        top = target.topk(min(3, len(target)))
        floor = float(top.values[2]) if len(target) > 2 else 0.0  # of label smoothing
        return [
            f"{100 * value:.0f} % {self.class_names[index]}"
            for value, index in zip(top.values[:2].tolist(), top.indices[:2].tolist(), strict=True)
            if value > floor
        ]
