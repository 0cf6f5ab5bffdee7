"""Images in tar files as a source."""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rednet.data.encoded_images import EncodedImages
from rednet.data.image_reading import MAX_BYTES_PER_PIXEL, open_regular
from rednet.wording import printable


class TarImages(EncodedImages):
    """Images in tar files, read where they lie.

    Each is read from a file that is opened for it, so that workers share nothing but the arrays.

    Args:
        tars: The tar files.
        class_names: Names of the classes, by class index.
        targets: Class index of every image (N,) int64.
        names: Names of the images, an array of bytes (N,).
        which: Index in `tars` of each image's tar (N,) int32.
        offsets: Position of each image's first byte in its tar (N,) int64.
        sizes: Number of bytes of each image (N,) int64.
    """

    per_image = ("relative_names", "which", "offsets", "sizes")

    def __init__(
        self,
        tars: Sequence[Path],
        class_names: list[str],
        targets: np.ndarray,
        names: np.ndarray,
        which: np.ndarray,
        offsets: np.ndarray,
        sizes: np.ndarray,
    ):
        super().__init__(class_names, targets, names)
        self.tars = list(tars)
        self.which, self.offsets, self.sizes = which, offsets, sizes

    def read_bytes(self, index: int) -> bytes:
        """Return the content of an image's file in its tar.

        Raises:
            OSError: It cannot be read, is too large, or the tar has become shorter.
        """
        size = int(self.sizes[index])
        if size > MAX_BYTES_PER_PIXEL * self.max_pixels:
            raise OSError(f"the file has {size} bytes, too many for an image of data.max_pixels")
        with open_regular(self.tars[self.which[index]], sys.maxsize) as file:
            file.seek(int(self.offsets[index]))
            content = file.read(size)
        if len(content) != size:
            raise OSError("the tar file has become shorter since it was opened")
        return content

    def name_of(self, index: int) -> str:
        """Return the path of the tar followed by the image's name, made printable."""
        name = bytes(self.relative_names[index]).decode(errors="surrogateescape")
        return f"{printable(self.tars[self.which[index]])}/{printable(name)}"
