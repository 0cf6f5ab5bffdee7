"""Resize with OpenCV, as the original code did.

OpenCV's bilinear interpolation reads four pixels even when it shrinks an image, where Pillow
averages over all pixels that an output pixel covers. Images are rotated by their EXIF orientation,
as OpenCV does when it reads a file. Everything else (truncated sizes, rounded offsets, the decoded
values except those of CMYK) is the same in both libraries.
"""

from typing import Any

import numpy as np
from PIL import Image, ImageOps
from timm.data.transforms import RandomResizedCropAndInterpolation

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
    """Crop randomly as timm does, and resize with `OpenCVResize`.

    Args:
        size: Height and width of the result in pixels.
        scale: Range of the crop's area, as a fraction of the image's.
        ratio: Range of the crop's aspect ratio, width / height.
    """

    def __init__(self, size: int, scale: tuple[float, float], ratio: tuple[float, float]):
        self.scale = scale
        self.ratio = ratio
        self.resize = OpenCVResize((size, size))

    def __call__(self, image: Image.Image) -> Image.Image:
        """Return a random crop, resized."""
        image = ImageOps.exif_transpose(image)
        crop = RandomResizedCropAndInterpolation.get_params
        top, left, height, width = crop(image, self.scale, self.ratio)
        return self.resize(image.crop((left, top, left + width, top + height)))


def _opencv() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise InputError(
            "data.interpolation=opencv needs OpenCV: pip install opencv-python-headless "
            "(or data.interpolation=bilinear, which resizes with Pillow)"
        ) from error
    return cv2
