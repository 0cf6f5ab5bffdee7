"""Resizing by OpenCV, whose bilinear interpolation made the pixels that the original saw.

OpenCV looks at four pixels however much it shrinks; Pillow averages over all that an output pixel
covers. As OpenCV does when it reads a file, the picture is turned as its EXIF data say. Everything
else (truncated sizes, rounded offsets, the decoded values but for CMYK) is the same with both.
"""

from typing import Any

import numpy as np
from PIL import Image, ImageOps
from timm.data.transforms import RandomResizedCropAndInterpolation

from rednet.errors import InputError


class OpenCVResize:
    """Resizes a picture in mode L or RGB bilinearly, without antialiasing.

    Args:
        size: Of the short side in pixels, or (height, width).

    Raises:
        InputError: OpenCV is not installed.
    """

    def __init__(self, size: int | tuple[int, int]):
        self.size = size
        _opencv().setNumThreads(0)  # one process per core loads data; its pool hangs after a fork

    def __call__(self, image: Image.Image) -> Image.Image:
        """Return the picture, upright and in its new size."""
        image = ImageOps.exif_transpose(image)
        width, height = self._target(image)
        if (width, height) == image.size:
            return image
        cv2 = _opencv()
        pixels = cv2.resize(np.asarray(image), (width, height), interpolation=cv2.INTER_LINEAR)
        return Image.fromarray(pixels)

    def _target(self, image: Image.Image) -> tuple[int, int]:
        if not isinstance(self.size, int):
            height, width = self.size
            return width, height
        short = min(image.size)
        width, height = (int(self.size * side / short) for side in image.size)
        return width, height


class OpenCVRandomResizedCrop:
    """timm's random resized crop with `OpenCVResize`.

    Args:
        size: Of the result, both sides.
        scale: Fraction of the area that is cut out, at least and at most.
        ratio: Width by height of that, at least and at most.
    """

    def __init__(self, size: int, scale: tuple[float, float], ratio: tuple[float, float]):
        self.scale = scale
        self.ratio = ratio
        self.resize = OpenCVResize((size, size))

    def __call__(self, image: Image.Image) -> Image.Image:
        """Cut out a random rectangle and resize it."""
        image = ImageOps.exif_transpose(image)
        draw = RandomResizedCropAndInterpolation.get_params
        top, left, height, width = draw(image, self.scale, self.ratio)
        return self.resize(image.crop((left, top, left + width, top + height)))


def _opencv() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise InputError(
            "data.interpolation=opencv needs OpenCV: pip install opencv-python-headless"
        ) from error
    return cv2
