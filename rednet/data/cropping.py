"""Crops, resized, of images and of JPEG files, of which no more than the crop is decoded.

The pixels are the same either way.
"""

from typing import Any

import numpy as np
from PIL import Image, ImageOps
from timm.data.transforms import RandomResizedCropAndInterpolation

from rednet.data.lazy_reading import JpegFile, PartDecoder
from rednet.data.opencv import OpenCVResize

OPENCV = "opencv"
DECODED_TO_SIZE = ("bilinear", "bicubic")
"""Interpolations of Pillow's that a decoder resizes with."""

Box = tuple[int, int, int, int]
"""Left, top, width and height in pixels."""


class RandomCrop:
    """A crop of random size and aspect ratio, as timm draws it, resized to a square.

    Args:
        size: Height and width of the result in pixels.
        scale: Range of the crop's area, as a fraction of the image's.
        ratio: Range of the crop's aspect ratio, width / height.
        interpolation: A filter of Pillow's, or "opencv".
        decode: Decodes parts of JPEG files in RGB; None for images only.
    """

    def __init__(
        self,
        size: int,
        scale: tuple[float, float],
        ratio: tuple[float, float],
        interpolation: str,
        decode: PartDecoder | None = None,
    ) -> None:
        self.size, self.scale, self.ratio = (size, size), scale, ratio
        self.interpolation, self.decode = interpolation, decode
        self._opencv = OpenCVResize(self.size) if interpolation == OPENCV else None

    def __call__(self, image: Image.Image | JpegFile) -> Image.Image:
        """Return a random crop, resized; of a file in RGB.

        Raises:
            UnreadableImage: A file cannot be decoded.
        """
        if isinstance(image, JpegFile):
            if self._opencv is None or image.is_upright:
                return self._crop_file(image)
            image = image.load().convert("RGB")
        if self._opencv is not None:
            image = ImageOps.exif_transpose(image)
        return self._crop(image, self._draw(image))

    def _draw(self, image: Image.Image) -> Box:
        draw = RandomResizedCropAndInterpolation.get_params
        top, left, height, width = draw(image, self.scale, self.ratio)
        return left, top, width, height

    def _crop_file(self, file: JpegFile) -> Image.Image:
        box = self._draw(file.header)
        how: dict[str, Any] = {}
        if self.interpolation in DECODED_TO_SIZE:
            how = {"interpolation": self.interpolation, "new_size": self.size}
        pixels = _decode(self.decode, file, box, how)
        if pixels is None:
            return self._crop(file.load().convert("RGB"), box)
        if self._opencv is not None:
            return self._opencv.resize_pixels(pixels)
        return Image.fromarray(pixels) if how else self._resize(Image.fromarray(pixels))

    def _crop(self, image: Image.Image, box: Box) -> Image.Image:
        left, top, width, height = box
        return self._resize(image.crop((left, top, left + width, top + height)))

    def _resize(self, image: Image.Image) -> Image.Image:
        if self._opencv is not None:
            return self._opencv(image)
        return image.resize(self.size, Image.Resampling[self.interpolation.upper()])


class CentreCrop:
    """The centre of an image whose short side is resized.

    Args:
        size: Height and width of the result in pixels.
        interpolation: One of `DECODED_TO_SIZE`.
        resize: Torchvision's transform that resizes the short side.
        crop: Torchvision's transform that crops the centre.
        decode: Decodes parts of JPEG files in RGB.
    """

    def __init__(
        self, size: int, interpolation: str, resize: Any, crop: Any, decode: PartDecoder | None
    ) -> None:
        self.size, self.interpolation, self.decode = size, interpolation, decode
        self.resize, self.crop = resize, crop

    def __call__(self, image: Image.Image | JpegFile) -> Image.Image:
        """Return the centre; of a file in RGB.

        Raises:
            UnreadableImage: A file cannot be decoded.
        """
        if isinstance(image, JpegFile):
            pixels = self._decode_file(image)
            if pixels is not None:
                return Image.fromarray(pixels)
            image = image.load().convert("RGB")
        cropped: Image.Image = self.crop(self.resize(image))
        return cropped

    def _decode_file(self, file: JpegFile) -> np.ndarray | None:
        short = min(file.size)
        width, height = (int(self.resize.size * side / short) for side in file.size)
        if min(width, height) < self.size:
            return None  # the crop has a margin
        # As torchvision rounds.
        left, top = (round((side - self.size) / 2.0) for side in (width, height))
        how = {
            "interpolation": self.interpolation,
            "new_size": (width, height),
            "part": (left, top, self.size, self.size),
        }
        return _decode(self.decode, file, (0, 0, *file.size), how)


def _decode(
    decode: PartDecoder | None, file: JpegFile, box: Box, how: dict[str, Any]
) -> np.ndarray | None:
    return None if decode is None else decode(file.content, file.size, box, **how)
