"""Transforms from a decoded image to the network's input, built from timm's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import methodcaller
from typing import Any

import numpy as np
import torch
from PIL import Image
from timm.data import create_transform
from timm.data.transforms import str_to_pil_interp
from timm.data.transforms_factory import transforms_imagenet_train
from torch import Tensor

from rednet.data.cropping import DECODED_TO_SIZE, OPENCV, CentreCrop, RandomCrop
from rednet.data.lazy_reading import JpegFile, PartDecoder
from rednet.data.normalization import Normalization
from rednet.data.opencv import OpenCVResize
from rednet.data.policies import TRIVIAL, check_policy, fix_policy, trivial_augment
from rednet.errors import InputError

PILLOW_INTERPOLATIONS = ("bilinear", "bicubic", "nearest", "lanczos")
INTERPOLATIONS = (*PILLOW_INTERPOLATIONS, OPENCV)
_MODES = {1: "L", 3: "RGB"}


@dataclass(frozen=True)
class Preprocessing:
    """The preprocessing of evaluation, stored in checkpoints.

    Attributes:
        image_size: Height and width of the network's input in pixels.
        crop_pct: Fraction of the resized short side that the centre crop keeps: the short side is
            resized to ``image_size / crop_pct``.
        interpolation: A filter of Pillow's, or "opencv": bilinear without antialiasing, as in the
            original code.
        mean: Mean of each channel, with pixel values in 0 to 1. One number for gray, three for RGB.
        std: Standard deviation of each channel.
    """

    image_size: int
    crop_pct: float
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", tuple(map(float, self.mean)))
        object.__setattr__(self, "std", tuple(map(float, self.std)))
        if len(self.mean) not in _MODES or len(self.mean) != len(self.std):
            raise InputError(
                f"mean {list(self.mean)} and std {list(self.std)} have wrong lengths: "
                "give one number each for gray, or three for RGB"
            )
        if self.interpolation not in INTERPOLATIONS:
            raise InputError(
                f"interpolation {self.interpolation!r}: choose {', '.join(INTERPOLATIONS)}"
            )

    @property
    def in_chans(self) -> int:
        """Number of channels of the network's input."""
        return len(self.mean)

    def describe(self) -> str:
        """Return all values as text."""
        mean, std = (" ".join(f"{value:g}" for value in row) for row in (self.mean, self.std))
        return (
            f"{self.image_size} px, crop {self.crop_pct:g}, {self.interpolation}, mean {mean}, "
            f"std {std}"
        )

    @property
    def pillow_interpolation(self) -> str:
        """The filter to build timm's transforms with, before OpenCV's replace them."""
        return "bilinear" if self.interpolation == OPENCV else self.interpolation


@dataclass(frozen=True)
class Augmentation:
    """The augmentation of training images.

    With both ``scale`` and ``ratio`` at (1, 1), the whole image is resized instead of a crop.

    Attributes:
        scale: Range of the random crop's area, as a fraction of the image's.
        ratio: Range of the random crop's aspect ratio, width / height.
        hflip: Probability of a horizontal flip.
        color_jitter: Strength of the jitter of brightness, contrast and saturation.
        auto_augment: A policy of timm's, such as rand-m9-mstd0.5, or "trivial".
        random_erasing: Probability of erasing a rectangle.
    """

    scale: tuple[float, float] = (1.0, 1.0)
    ratio: tuple[float, float] = (1.0, 1.0)
    hflip: float = 0.0
    color_jitter: float | None = None
    auto_augment: str | None = None
    random_erasing: float = 0.0


class ImageTransform:
    """A sequence of transforms from an image of any mode to a normalized tensor (C, H, W).

    Args:
        transforms: The transforms; the last one normalizes pixels, or returns a tensor.
        mode: Mode that images are converted to first.
        uses_numpy_random: Whether a transform uses numpy's global generator.
        takes_files: Whether the first transform also takes a `JpegFile`, as `RandomCrop` does.
    """

    def __init__(
        self,
        transforms: Sequence[Callable],
        mode: str,
        *,
        uses_numpy_random: bool = False,
        takes_files: bool = False,
    ):
        self.transforms = list(transforms)
        self.mode = mode
        self.uses_numpy_random = uses_numpy_random
        self.takes_files = takes_files

    def __call__(self, image: Image.Image | JpegFile) -> Tensor:
        """Convert the image to ``mode`` and apply the transforms.

        Raises:
            UnreadableImage: A file cannot be decoded.
        """
        return self._apply(image, self.transforms)

    @property
    def normalization(self) -> Normalization | None:
        """The last transform, if the result of the others is an image; otherwise None."""
        last = self.transforms[-1] if self.transforms else None
        return last.normalization if isinstance(last, ToNormalizedTensor) else None

    def to_pixels(self, image: Image.Image | JpegFile) -> Tensor:
        """Apply all transforms but the normalization; return pixels (C, H, W) uint8.

        They lie in memory as (H, W, C).

        Raises:
            UnreadableImage: A file cannot be decoded.
        """
        first: Any = self.transforms[0]
        if isinstance(image, JpegFile) and self.takes_files and len(self.transforms) == 2:
            return _as_tensor(first.read(image))  # without a detour by Pillow's layout in memory
        return to_pixels(self._apply(image, self.transforms[:-1]))

    def _apply(self, image: Image.Image | JpegFile, transforms: Sequence[Callable]) -> Any:
        value: Any = image
        if isinstance(value, JpegFile) and not self.takes_files:
            value = value.load()
        if not isinstance(value, JpegFile) and value.mode != self.mode:
            value = value.convert(self.mode)
        for transform in transforms:
            value = transform(value)
        return value


def to_pixels(image: Image.Image) -> Tensor:
    """Return an image in mode L or RGB as (C, H, W) uint8, in memory as (H, W, C)."""
    return _as_tensor(np.array(image))


def _as_tensor(pixels: np.ndarray) -> Tensor:
    """Return pixels (H, W) or (H, W, C) as (C, H, W)."""
    return torch.from_numpy(pixels).view(*pixels.shape[:2], -1).permute(2, 0, 1)


class ToNormalizedTensor:
    """Convert an image in mode L or RGB to (pixels / 255 - mean) / std, float32 (C, H, W).

    This replaces timm's last two transforms, which take four times as long on small images and a
    quarter of the whole transform's time.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]):
        self.normalization = Normalization(tuple(mean), tuple(std))

    def __call__(self, image: Image.Image) -> Tensor:
        """Return a contiguous tensor that shares no memory with the image."""
        return self.normalization(to_pixels(image).contiguous())


def eval_transform(
    preprocessing: Preprocessing, decode: PartDecoder | None = None
) -> ImageTransform:
    """Build the transform of evaluation: resize the short side, crop the centre, normalize.

    Args:
        preprocessing: Size, interpolation, mean and standard deviation.
        decode: Decodes parts of JPEG files in RGB; None to decode whole images.
    """
    resize, crop, *_ = create_transform(
        preprocessing.image_size,
        interpolation=preprocessing.pillow_interpolation,
        crop_pct=preprocessing.crop_pct,
    ).transforms
    if preprocessing.interpolation == OPENCV:
        resize = OpenCVResize(resize.size)
    mode = _MODES[preprocessing.in_chans]
    stages: list[Callable] = [resize, crop]
    can_decode = decode is not None and mode == "RGB" and isinstance(resize.size, int)
    takes_files = can_decode and preprocessing.interpolation in DECODED_TO_SIZE
    if takes_files:
        size, interpolation = preprocessing.image_size, preprocessing.interpolation
        stages = [CentreCrop(size, interpolation, resize, crop, decode)]
    normalize = ToNormalizedTensor(preprocessing.mean, preprocessing.std)
    return ImageTransform([*stages, normalize], mode, takes_files=takes_files)


def train_transform(
    preprocessing: Preprocessing,
    augmentation: Augmentation,
    decode: PartDecoder | None = None,
) -> ImageTransform:
    """Build the transform of training: crop, flip, policy, colour jitter, normalize, erase.

    Each is left out where ``augmentation`` disables it. Colour jitter is applied with a policy too,
    where timm would drop it. Erased rectangles are filled with the mean.

    Args:
        preprocessing: Size, interpolation, mean and standard deviation.
        augmentation: What is varied.
        decode: Decodes parts of JPEG files in RGB; None to decode whole images.

    Raises:
        InputError: ``auto_augment`` is not a policy.
    """
    policy = augmentation.auto_augment
    if policy:
        check_policy(policy)
    crop, vary, finish = _timm_stages(preprocessing, augmentation)
    if policy == TRIVIAL:
        vary.insert(0, trivial_augment(preprocessing.pillow_interpolation))
    elif policy:
        fix_policy(vary[0])
    mode = _MODES[preprocessing.in_chans]
    crops_at_random = not _skips_crop(augmentation)
    if crops_at_random:
        crop = [
            RandomCrop(
                preprocessing.image_size,
                augmentation.scale,
                augmentation.ratio,
                preprocessing.interpolation,
                augmentation.hflip,
                decode,
            )
        ]
    else:
        crop[0] = _resize_whole(preprocessing)
    finish[:2] = [ToNormalizedTensor(preprocessing.mean, preprocessing.std)]
    return ImageTransform(
        [*crop, *vary, *finish],
        mode,
        uses_numpy_random=bool(policy),
        takes_files=crops_at_random and decode is not None and mode == "RGB",
    )


def _timm_stages(preprocessing: Preprocessing, augmentation: Augmentation) -> list[list[Callable]]:
    """Return the first, middle and last transforms of timm's training transform."""
    policy = augmentation.auto_augment
    stages = transforms_imagenet_train(
        preprocessing.image_size,
        scale=augmentation.scale,
        ratio=augmentation.ratio,
        hflip=augmentation.hflip,
        color_jitter=augmentation.color_jitter or None,  # type: ignore[arg-type]
        force_color_jitter=True,
        auto_augment=None if policy == TRIVIAL else policy,
        interpolation=preprocessing.pillow_interpolation,
        mean=preprocessing.mean,
        std=preprocessing.std,
        re_prob=augmentation.random_erasing,
        separate=True,
    )
    return [list(stage.transforms) for stage in stages]


def _skips_crop(augmentation: Augmentation) -> bool:
    return tuple(augmentation.scale) == (1, 1) and tuple(augmentation.ratio) == (1, 1)


def _resize_whole(preprocessing: Preprocessing) -> Callable[[Image.Image], Image.Image]:
    size = (preprocessing.image_size, preprocessing.image_size)
    if preprocessing.interpolation == OPENCV:
        return OpenCVResize(size)
    return methodcaller("resize", size, str_to_pil_interp(preprocessing.interpolation))
