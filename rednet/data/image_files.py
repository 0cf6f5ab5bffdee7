"""Decode image files, and serve them as a source."""

import copy
import os
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from rednet.data.sources import UnreadableImage
from rednet.wording import printable


class ImageFiles:
    """A source of image files under one root folder."""

    def __init__(self, root: Path, class_names: list[str], samples: Iterable[tuple[str, int]]):
        """Take ``samples`` as pairs of a path relative to ``root`` and a class index."""
        names, targets = zip(*samples, strict=True)
        self.root = root
        self.class_names = class_names
        self.targets: list[int] = list(targets)
        # One array of bytes: forked workers would copy the pages of a million str objects as they
        # touch the reference counts.
        self.relative_names = np.array([os.fsencode(name) for name in names])

    def select(self, indices: np.ndarray) -> "ImageFiles":
        """Return the source of the images at some indices, with all classes."""
        part = copy.copy(self)
        part.relative_names = self.relative_names[indices]
        part.targets = np.asarray(self.targets)[indices].tolist()
        return part

    def __len__(self) -> int:
        return len(self.targets)

    def load(self, index: int) -> Image.Image:
        """Decode an image; see `read_image`."""
        return read_image(self.path_of(index))

    def read_bytes(self, index: int) -> bytes:
        """Return the content of an image's file."""
        return Path(self.name_of(index)).read_bytes()

    def name_of(self, index: int) -> str:
        """Return the path of an image, made printable."""
        return printable(self.path_of(index))

    def path_of(self, index: int) -> Path:
        """Return the path of an image."""
        return self.root / os.fsdecode(bytes(self.relative_names[index]))


def read_image(path: str | os.PathLike[str]) -> Image.Image:
    """Decode an image file into mode L or RGB.

    The EXIF orientation is ignored, as torchvision does. Transparency is dropped, and 16-bit gray
    is scaled to 8 bits.

    Raises:
        UnreadableImage: The file cannot be decoded for any reason, including a missing or truncated
            file.
    """
    try:
        # Pillow warns about large images and odd metadata; neither affects the pixels.
        with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
            image.load()
            return as_8_bits(image)
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UnreadableImage(printable(path), printable(reason)) from error


def as_8_bits(image: Image.Image) -> Image.Image:
    """Return an image of any mode in mode L or RGB.

    Transparency is dropped, and 16-bit gray is scaled to 8 bits.

    Raises:
        ValueError: The pixels have 32 bits and no fixed range.
    """
    if image.mode in ("L", "RGB"):
        return image
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError("32-bit pixels have no fixed range, convert the file to 8 or 16 bits")
    return image.convert("RGB")


def label_images(
    images: Mapping[str, list[str]], class_index: Mapping[str, int]
) -> list[tuple[str, int]]:
    """Return (image, class index) for all images, class by class."""
    return [(image, class_index[name]) for name, files in images.items() for image in files]
