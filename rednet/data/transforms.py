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

from rednet.data.opencv import OpenCVRandomResizedCrop, OpenCVResize
from rednet.data.policies import TRIVIAL, check_policy, fix_policy, trivial_augment
from rednet.errors import InputError

PILLOW_INTERPOLATIONS = ("bilinear", "bicubic", "nearest", "lanczos")
OPENCV = "opencv"
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

    ``uses_numpy_random`` tells whether a transform uses numpy's global generator.
    """

    def __init__(
        self, transforms: Sequence[Callable], mode: str, *, uses_numpy_random: bool = False
    ):
        self.transforms = list(transforms)
        self.mode = mode
        self.uses_numpy_random = uses_numpy_random

    def __call__(self, image: Image.Image) -> Tensor:
        """Convert the image to ``mode`` and apply the transforms."""
        value: Any = image if image.mode == self.mode else image.convert(self.mode)
        for transform in self.transforms:
            value = transform(value)
        return value


class ToNormalizedTensor:
    """Convert an image in mode L or RGB to (pixels / 255 - mean) / std, float32 (C, H, W).

    This replaces timm's last two transforms, which take four times as long on small images and a
    quarter of the whole transform's time.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]):
        self.scale = 1 / (255 * torch.tensor(std).view(-1, 1, 1))
        self.shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)]).view(-1, 1, 1)

    def __call__(self, image: Image.Image) -> Tensor:
        """Return a contiguous tensor that shares no memory with the image."""
        pixels = torch.from_numpy(np.array(image)).view(image.height, image.width, -1)
        return pixels.permute(2, 0, 1).contiguous().float().mul_(self.scale).add_(self.shift)


def eval_transform(preprocessing: Preprocessing) -> ImageTransform:
    """Build the transform of evaluation: resize the short side, crop the centre, normalize."""
    resize, crop, *_ = create_transform(
        preprocessing.image_size,
        interpolation=preprocessing.pillow_interpolation,
        crop_pct=preprocessing.crop_pct,
    ).transforms
    if preprocessing.interpolation == OPENCV:
        resize = OpenCVResize(resize.size)
    normalize = ToNormalizedTensor(preprocessing.mean, preprocessing.std)
    return ImageTransform([resize, crop, normalize], _MODES[preprocessing.in_chans])


def train_transform(preprocessing: Preprocessing, augmentation: Augmentation) -> ImageTransform:
    """Build the transform of training: crop, flip, policy, colour jitter, normalize, erase.

    Each is left out where ``augmentation`` disables it. Colour jitter is applied with a policy too,
    where timm would drop it. Erased rectangles are filled with the mean.

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
    if _skips_crop(augmentation):
        crop[0] = _resize_whole(preprocessing)
    elif preprocessing.interpolation == OPENCV:
        crop[0] = OpenCVRandomResizedCrop(
            preprocessing.image_size, augmentation.scale, augmentation.ratio
        )
    finish[:2] = [ToNormalizedTensor(preprocessing.mean, preprocessing.std)]
    mode = _MODES[preprocessing.in_chans]
    return ImageTransform([*crop, *vary, *finish], mode, uses_numpy_random=bool(policy))


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
