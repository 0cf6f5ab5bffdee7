"""Image files of which only the part that is needed is decoded."""

import contextlib
import os
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image

from rednet.data.image_reading import (
    MAX_BYTES_PER_PIXEL,
    MAX_PIXELS,
    as_8_bits,
    opened,
    read_file,
    read_image,
)

_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif")
_UPRIGHT = (0, 1)
"""Values of the EXIF orientation that leave an image as it is, beside unknown ones."""


class PartDecoder(Protocol):
    """A function that decodes parts of JPEG files, such as `rednet.decoding.decode_jpeg`."""

    def __call__(
        self,
        content: bytes,
        size: tuple[int, int],
        box: tuple[int, int, int, int],
        *,
        interpolation: str | None = None,
        new_size: tuple[int, int] | None = None,
        part: tuple[int, int, int, int] | None = None,
        mirror: bool = False,
    ) -> np.ndarray | None:
        """Return pixels (H, W, 3) uint8, or None if Pillow must decode the file."""


@dataclass(frozen=True)
class JpegFile:
    """A JPEG file in RGB or gray whose header has been read.

    Attributes:
        path: Path of the file, or name of the image.
        content: Content of the file.
        header: The image without its pixels.
        max_pixels: Largest number of pixels of an image that is decoded.
    """

    path: str | os.PathLike[str]
    content: bytes
    header: Image.Image
    max_pixels: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.header.size

    @property
    def is_upright(self) -> bool:
        """Whether the EXIF orientation leaves the image as it is; False if it cannot be read."""
        try:
            return self.header.getexif().get(Image.ExifTags.Base.Orientation, 1) in _UPRIGHT
        except Exception:  # Pillow's parser raises errors of any kind
            return False

    def load(self) -> Image.Image:
        """Decode the whole image; see `read_image`."""
        return read_image(self.path, self.max_pixels, self.content)


def read_lazily(
    path: str | os.PathLike[str], max_pixels: int = MAX_PIXELS, content: bytes | None = None
) -> Image.Image | JpegFile:
    """Read an image file as `read_image` does, but do not decode a JPEG file in RGB or gray.

    Progressive files are decoded, as all of one must be read for any part of it.

    Raises:
        UnreadableImage: The file is no image that can be decoded.
        MemoryError: There is no memory left.
    """
    if content is None and os.fspath(path).lower().endswith(_SUFFIXES):
        # Pillow would read the file in many small pieces. Opening it again says what is wrong.
        with contextlib.suppress(OSError):
            content = read_file(path, MAX_BYTES_PER_PIXEL * max_pixels)
    with opened(path, max_pixels, content) as image:
        is_plain = image.format == "JPEG" and image.mode in ("RGB", "L")
        if is_plain and "progressive" not in image.info and content is not None:
            return JpegFile(path, content, image, max_pixels)
        image.load()
        return as_8_bits(image)
