"""The input images of a network: read and preprocessed."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rednet.data import MAX_PIXELS, Preprocessing, UnreadableImage, eval_transform, read_image
from rednet.errors import InputError
from rednet.evaluation import describe_unreadable
from rednet.wording import printable

BATCH_SIZE = 8
"""Images per forward pass; the generated kernels take much memory."""


@dataclass(frozen=True)
class InputImages:
    """Preprocessed images.

    Attributes:
        names: Short name of each image.
        inputs: Input of the network (N, C, S, S), on the network's device.
        rgb: The same images for display, (N, S, S, 3) in 0 to 1.
    """

    names: tuple[str, ...]
    inputs: Tensor
    rgb: np.ndarray

    def __len__(self) -> int:
        return len(self.names)

    def first(self, count: int) -> "InputImages":
        """Return the first `count` images, or all if there are fewer."""
        return InputImages(self.names[:count], self.inputs[:count], self.rgb[:count])

    def batches(self) -> Iterator[Tensor]:
        """Yield the inputs in small batches."""
        return iter(self.inputs.split(BATCH_SIZE))


def load_images(
    paths: Sequence[str],
    preprocessing: Preprocessing,
    device: torch.device,
    max_pixels: int = MAX_PIXELS,
) -> InputImages:
    """Read and preprocess images as an evaluation does.

    Args:
        paths: Paths of the image files.
        preprocessing: Preprocessing that the network was trained with.
        device: Device of the network.
        max_pixels: Largest number of pixels of an image that is decoded.

    Raises:
        InputError: An image cannot be read.
    """
    inputs = torch.stack(_load(paths, eval_transform(preprocessing), max_pixels))
    mean, std = (
        torch.tensor(values).view(-1, 1, 1) for values in (preprocessing.mean, preprocessing.std)
    )
    rgb = (inputs * std + mean).clamp(0, 1).expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()
    return InputImages(tuple(printable(Path(path).stem) for path in paths), inputs.to(device), rgb)


def _load(paths: Sequence[str], transform: Callable[..., Tensor], max_pixels: int) -> list[Tensor]:
    loaded, unreadable = [], []
    for path in paths:
        try:
            loaded.append(transform(read_image(path, max_pixels)))
        except UnreadableImage as error:
            unreadable.append((error.name, error.reason))
    if unreadable:
        raise InputError(f"images: {describe_unreadable(unreadable)}")
    return loaded
