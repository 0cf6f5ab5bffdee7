"""The pictures that a network is shown: found, read, prepared, and as they look to a person."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rednet.data import Preprocessing, UnreadableImage, eval_transform, read_image
from rednet.data.image_files import IMAGE_SUFFIXES, list_images
from rednet.errors import InputError
from rednet.evaluation import describe_unreadable

BATCH = 8
"""Images that go through a network at a time: their kernels are large."""


@dataclass(frozen=True)
class Images:
    """Prepared pictures.

    Attributes:
        names: A short one for each.
        inputs: The network's input (N, C, S, S), where the network is.
        shown: What of it a person sees, (N, S, S, 3) of red, green and blue in 0 to 1.
    """

    names: tuple[str, ...]
    inputs: Tensor
    shown: np.ndarray

    def __len__(self) -> int:
        return len(self.names)

    def first(self, count: int) -> "Images":
        """The first so many, or all."""
        return Images(self.names[:count], self.inputs[:count], self.shown[:count])

    def batches(self) -> Iterator[Tensor]:
        """The inputs, a few at a time."""
        return iter(self.inputs.split(BATCH))


def find_images(given: Sequence[str]) -> list[Path]:
    """The image files that are meant: files as they are, of a folder all at any depth, sorted.

    Raises:
        InputError: One is missing, or a folder has no images.
    """
    return [path for name in given for path in _find(Path(name))]


def _find(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"images={path}: no such file or folder")
    found = [path / name for name in list_images(path)]
    if not found:
        raise InputError(f"images={path}: has no images ({', '.join(sorted(IMAGE_SUFFIXES))})")
    return found


def load_images(
    paths: Sequence[Path], preprocessing: Preprocessing, device: torch.device
) -> Images:
    """Reads and prepares pictures as an evaluation does.

    Args:
        paths: Of the pictures.
        preprocessing: What the network is used to.
        device: Where the network is.

    Raises:
        InputError: One cannot be read.
    """
    inputs = torch.stack(_load(paths, eval_transform(preprocessing)))
    mean, std = (
        torch.tensor(values).view(-1, 1, 1) for values in (preprocessing.mean, preprocessing.std)
    )
    shown = (inputs * std + mean).clamp(0, 1).expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()
    return Images(tuple(path.stem for path in paths), inputs.to(device), shown)


def _load(paths: Sequence[Path], transform: Callable[..., Tensor]) -> list[Tensor]:
    loaded, unreadable = [], []
    for path in paths:
        try:
            loaded.append(transform(read_image(path)))
        except UnreadableImage as error:
            unreadable.append((error.name, error.reason))
    if unreadable:
        raise InputError(f"images: {describe_unreadable(unreadable)}")
    return loaded
