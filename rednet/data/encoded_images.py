"""Sources of encoded images that are parts of larger files."""

import copy
from abc import ABC, abstractmethod
from typing import Self

import numpy as np
from PIL import Image

from rednet.data.image_reading import MAX_PIXELS, read_header, read_image
from rednet.data.lazy_reading import JpegFile, read_lazily
from rednet.data.sources import UnreadableImage
from rednet.wording import printable


class EncodedImages(ABC):
    """A source of images whose encoded bytes can be read at any index.

    Attributes:
        max_pixels: Largest number of pixels of an image that is decoded.
        class_names: Names of the classes, by class index.
        targets: Class index of every image.
        relative_names: Names of the images, an array of bytes (N,).
    """

    max_pixels = MAX_PIXELS
    per_image: tuple[str, ...] = ("relative_names",)
    """Names of the arrays that have an entry for each image."""

    def __init__(self, class_names: list[str], targets: np.ndarray, names: np.ndarray):
        self.class_names = class_names
        self.targets: list[int] = targets.tolist()
        self.relative_names = names

    def select(self, indices: np.ndarray) -> Self:
        """Return the source of the images at some indices, with all classes."""
        part = copy.copy(self)
        for name in self.per_image:
            setattr(part, name, getattr(self, name)[indices])
        part.targets = np.asarray(self.targets)[indices].tolist()
        return part

    def __len__(self) -> int:
        return len(self.targets)

    def load(self, index: int) -> Image.Image:
        """Decode an image; see `read_image`."""
        name = self.name_of(index)
        return read_image(name, self.max_pixels, self._read(index, name))

    def open(self, index: int) -> Image.Image | JpegFile:
        """Read an image, but do not decode most JPEG files; see `read_lazily`."""
        name = self.name_of(index)
        return read_lazily(name, self.max_pixels, self._read(index, name))

    def check(self, index: int) -> None:
        """Read what comes before an image's pixels; see `read_header`."""
        name = self.name_of(index)
        read_header(name, self.max_pixels, self._read(index, name))

    def _read(self, index: int, name: str) -> bytes:
        try:
            return self.read_bytes(index)
        except OSError as error:
            reason = error.strerror or str(error)
            raise UnreadableImage(name, printable(reason)) from error

    @abstractmethod
    def read_bytes(self, index: int) -> bytes:
        """Return the encoded bytes of an image.

        Raises:
            OSError: They cannot be read.
        """

    @abstractmethod
    def name_of(self, index: int) -> str:
        """Return the name a user knows the image by, made printable."""
