"""Resize with OpenCV, as the original code did.

OpenCV's bilinear interpolation reads four pixels even when it shrinks an image, where Pillow
averages over all pixels that an output pixel covers. Images are rotated by their EXIF orientation,
as OpenCV does when it reads a file. Everything else (truncated sizes, rounded offsets, the decoded
values except those of CMYK) is the same in both libraries.
"""

from typing import Any

import numpy as np
from PIL import Image, ImageOps

from rednet.errors import InputError


class OpenCVResize:
    """Resize an image in mode L or RGB bilinearly, without antialiasing.

    Args:
        size: Length of the short side in pixels, or (height, width).

    Raises:
        InputError: OpenCV is not installed.
    """

    def __init__(self, size: int | tuple[int, int]):
        self.size = size
        # Every core has a worker process, and OpenCV's thread pool hangs after a fork.
        _opencv().setNumThreads(0)

    def __call__(self, image: Image.Image) -> Image.Image:
        """Return the upright, resized image."""
        image = ImageOps.exif_transpose(image)
        if self._target(image.size) == image.size:
            return image
        return self.resize_pixels(np.asarray(image))

    def resize_pixels(self, pixels: np.ndarray) -> Image.Image:
        """Return upright pixels (H, W) or (H, W, 3) uint8, resized."""
        height, width = pixels.shape[:2]
        target = self._target((width, height))
        if target != (width, height):
            cv2 = _opencv()
            pixels = cv2.resize(pixels, target, interpolation=cv2.INTER_LINEAR)
        return Image.fromarray(pixels)

    def _target(self, size: tuple[int, int]) -> tuple[int, int]:
        if not isinstance(self.size, int):
            height, width = self.size
            return width, height
        short = min(size)
        width, height = (int(self.size * side / short) for side in size)
        return width, height


def _opencv() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise InputError(
            "data.interpolation=opencv needs OpenCV: pip install opencv-python-headless "
            "(or data.interpolation=bilinear, which resizes with Pillow)"
        ) from error
    return cv2
