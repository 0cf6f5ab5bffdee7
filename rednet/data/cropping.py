"""Crops, resized, of images and of JPEG files, of which no more than the crop is decoded.

The pixels are the same either way.
"""

from typing import Any

import numpy as np
import torch
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
    """A crop of random size and aspect ratio, as timm draws it, resized to a square and flipped.

    Args:
        size: Height and width of the result in pixels.
        scale: Range of the crop's area, as a fraction of the image's.
        ratio: Range of the crop's aspect ratio, width / height.
        interpolation: A filter of Pillow's, or "opencv".
        hflip: Probability of exchanging left and right.
        decode: Decodes parts of JPEG files in RGB; None for images only.
    """

    def __init__(
        self,
        size: int,
        scale: tuple[float, float],
        ratio: tuple[float, float],
        interpolation: str,
        hflip: float = 0.0,
        decode: PartDecoder | None = None,
    ) -> None:
        self.size, self.scale, self.ratio = (size, size), scale, ratio
        self.interpolation, self.hflip, self.decode = interpolation, hflip, decode
        self._opencv = OpenCVResize(self.size) if interpolation == OPENCV else None

    def __call__(self, image: Image.Image | JpegFile) -> Image.Image:
        """Return a random crop, resized; of a file in RGB.

        Raises:
            UnreadableImage: A file cannot be decoded.
        """
        if isinstance(image, JpegFile):
            return Image.fromarray(self.read(image))
        if self._opencv is not None:
            image = ImageOps.exif_transpose(image)
        return self._crop(image, self.draw(image), self._draw_flip())

    def read(self, file: JpegFile) -> np.ndarray:
        """Return a random crop of a file, resized: pixels (H, W, 3) uint8.

        Raises:
            UnreadableImage: The file cannot be decoded.
        """
        if self._opencv is not None and not file.is_upright:
            return np.array(self(file.load().convert("RGB")))
        box, mirror = self.draw(file.header), self._draw_flip()
        how: dict[str, Any] = {}
        if self.interpolation in DECODED_TO_SIZE:
            how = {"interpolation": self.interpolation, "new_size": self.size, "mirror": mirror}
        pixels = _decode(self.decode, file, box, how)
        if pixels is None:
            return np.array(self._crop(file.load().convert("RGB"), box, mirror))
        if not how:
            pixels = np.array(_flip(self._resize(Image.fromarray(pixels)), mirror))
        return pixels

    def draw(self, image: Image.Image) -> Box:
        """Draw a box; of the image, only the size is looked at."""
        draw = RandomResizedCropAndInterpolation.get_params
        top, left, height, width = draw(image, self.scale, self.ratio)
        return left, top, width, height

    def _draw_flip(self) -> bool:
        """Draw as torchvision's RandomHorizontalFlip does, which is left out without `hflip`."""
        return self.hflip > 0 and bool(torch.rand(1) < self.hflip)

    def _crop(self, image: Image.Image, box: Box, mirror: bool) -> Image.Image:
        left, top, width, height = box
        return _flip(self._resize(image.crop((left, top, left + width, top + height))), mirror)

    def _resize(self, image: Image.Image) -> Image.Image:
        if self._opencv is not None:
            return self._opencv(image)
        return image.resize(self.size, Image.Resampling[self.interpolation.upper()])


def _flip(image: Image.Image, mirror: bool) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirror else image


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
            return Image.fromarray(self.read(image))
        cropped: Image.Image = self.crop(self.resize(image))
        return cropped

    def read(self, file: JpegFile) -> np.ndarray:
        """Return the centre of a file: pixels (H, W, 3) uint8.

        Raises:
            UnreadableImage: The file cannot be decoded.
        """
        pixels = self._decode_file(file)
        return np.array(self(file.load().convert("RGB"))) if pixels is None else pixels

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
