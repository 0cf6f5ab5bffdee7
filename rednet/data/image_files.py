"""Image files as a source."""

import copy
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from rednet.data.image_reading import (
    MAX_BYTES_PER_PIXEL,
    MAX_PIXELS,
    read_file,
    read_header,
    read_image,
)
from rednet.data.lazy_reading import JpegFile, read_lazily
from rednet.errors import InputError
from rednet.wording import count, join_names, printable


class ImageFiles:
    """A source of image files under one root folder.

    Attributes:
        max_pixels: Largest number of pixels of an image that is decoded.
    """

    max_pixels = MAX_PIXELS

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
        return read_image(self.path_of(index), self.max_pixels)

    def open(self, index: int) -> Image.Image | JpegFile:
        """Read an image, but do not decode most JPEG files; see `read_lazily`."""
        return read_lazily(self.path_of(index), self.max_pixels)

    def check(self, index: int) -> None:
        """Read what comes before an image's pixels; see `read_header`."""
        read_header(self.path_of(index), self.max_pixels)

    def read_bytes(self, index: int) -> bytes:
        """Return the content of an image's file."""
        return read_file(self.path_of(index), MAX_BYTES_PER_PIXEL * self.max_pixels)

    def name_of(self, index: int) -> str:
        """Return the path of an image, made printable."""
        return printable(self.path_of(index))

    def path_of(self, index: int) -> Path:
        """Return the path of an image."""
        return self.root / os.fsdecode(bytes(self.relative_names[index]))


def label_images(
    images: Mapping[str, list[str]], class_index: Mapping[str, int]
) -> list[tuple[str, int]]:
    """Return (image, class index) for all images, class by class."""
    return [(image, class_index[name]) for name, files in images.items() for image in files]


def require_files(folder: Path, names: Sequence[str], place: str) -> None:
    """Require that all files exist which a table names.

    Args:
        folder: Folder of relative paths, which is ``data.root`` or follows from the table.
        names: Paths of the files.
        place: The table, made printable.

    Raises:
        InputError: Files are missing.
    """
    missing = [name for name in names if not os.path.exists(os.path.join(folder, name))]
    if missing:
        raise InputError(
            f"{count(len(missing), 'image')} of the {len(names)} in {place} cannot be found in "
            f"{printable(folder)}: {join_names(missing, limit=3)}; data.root=FOLDER is the folder "
            "of the paths"
        )
