"""From a decoded picture to the network's input: timm's transforms, for gray and colour."""

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
from rednet.data.policies import check_policy, mend_policy
from rednet.errors import InputError

PILLOW_INTERPOLATIONS = ("bilinear", "bicubic", "nearest", "lanczos")
OPENCV = "opencv"
INTERPOLATIONS = (*PILLOW_INTERPOLATIONS, OPENCV)
_MODES = {1: "L", 3: "RGB"}


@dataclass(frozen=True)
class Preprocessing:
    """What evaluation does to every picture; a checkpoint carries it.

    The short side is resized to ``image_size / crop_pct`` and the centre cropped. ``interpolation``
    is Pillow's, or "opencv": bilinear without antialiasing, as the original did. ``mean`` and
    ``std`` are of pixels in 0 to 1; one number each means gray input, three mean RGB.
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
                f"mean {list(self.mean)} and std {list(self.std)} do not fit each other: "
                "give one number each (gray) or three (RGB)"
            )
        if self.interpolation not in INTERPOLATIONS:
            raise InputError(
                f"interpolation {self.interpolation!r}: choose {', '.join(INTERPOLATIONS)}"
            )

    @property
    def in_chans(self) -> int:
        """Channels of the network's input."""
        return len(self.mean)

    @property
    def pillow_interpolation(self) -> str:
        """The interpolation to give to timm; OpenCV's is put in its place afterwards."""
        return "bilinear" if self.interpolation == OPENCV else self.interpolation


@dataclass(frozen=True)
class Augmentation:
    """How training pictures are varied.

    ``scale`` is the part of the area and ``ratio`` the aspect ratio of the random crop; both
    exactly (1, 1) resize the whole picture instead. ``hflip`` and ``random_erasing`` are
    probabilities. ``color_jitter`` is the strength for brightness, contrast and saturation.
    ``auto_augment`` is one of timm's policies, such as rand-m9-mstd0.5.
    """

    scale: tuple[float, float] = (1.0, 1.0)
    ratio: tuple[float, float] = (1.0, 1.0)
    hflip: float = 0.0
    color_jitter: float | None = None
    auto_augment: str | None = None
    random_erasing: float = 0.0


class ImageTransform:
    """A chain of steps from a picture of any mode to a normalized tensor (C, H, W).

    ``draws_from_numpy`` says whether a step uses numpy's global generator.
    """

    def __init__(self, steps: Sequence[Callable], mode: str, *, draws_from_numpy: bool = False):
        self.steps = list(steps)
        self.mode = mode
        self.draws_from_numpy = draws_from_numpy

    def __call__(self, image: Image.Image) -> Tensor:
        """Convert the picture to the mode the steps expect and apply them."""
        value: Any = image if image.mode == self.mode else image.convert(self.mode)
        for step in self.steps:
            value = step(value)
        return value


class ToNormalizedTensor:
    """Turn a picture in mode L or RGB into (pixels / 255 - mean) / std, float32 (C, H, W).

    It stands for timm's last two steps, which take four times as long on small pictures: a
    quarter of all that is done to one.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]):
        self.scale = 1 / (255 * torch.tensor(std).view(-1, 1, 1))
        self.shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)]).view(-1, 1, 1)

    def __call__(self, image: Image.Image) -> Tensor:
        """Return a contiguous tensor of its own."""
        pixels = torch.from_numpy(np.array(image)).view(image.height, image.width, -1)
        return pixels.permute(2, 0, 1).contiguous().float().mul_(self.scale).add_(self.shift)


def eval_transform(preprocessing: Preprocessing) -> ImageTransform:
    """Resize the short side, crop the centre, normalize; nothing random."""
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
    """Crop, flip, policy, colour jitter, normalize, erase: each if asked for, in this order.

    Colour jitter is applied beside a policy too, which timm would drop unasked. Erased
    rectangles are filled with the mean.

    Raises:
        InputError: ``auto_augment`` is none of timm's policies.
    """
    policy = augmentation.auto_augment
    if policy:
        check_policy(policy)
    crop, vary, finish = _timm_stages(preprocessing, augmentation)
    if policy:
        mend_policy(vary[0])
    if _keeps_whole(augmentation):
        crop[0] = _resize_whole(preprocessing)
    elif preprocessing.interpolation == OPENCV:
        crop[0] = OpenCVRandomResizedCrop(
            preprocessing.image_size, augmentation.scale, augmentation.ratio
        )
    finish[:2] = [ToNormalizedTensor(preprocessing.mean, preprocessing.std)]
    mode = _MODES[preprocessing.in_chans]
    return ImageTransform([*crop, *vary, *finish], mode, draws_from_numpy=bool(policy))


def _timm_stages(preprocessing: Preprocessing, augmentation: Augmentation) -> list[list[Callable]]:
    """Return what timm's training transform does first, in between, and at the end."""
    stages = transforms_imagenet_train(
        preprocessing.image_size,
        scale=augmentation.scale,
        ratio=augmentation.ratio,
        hflip=augmentation.hflip,
        color_jitter=augmentation.color_jitter or None,  # type: ignore[arg-type]
        force_color_jitter=True,
        auto_augment=augmentation.auto_augment,
        interpolation=preprocessing.pillow_interpolation,
        mean=preprocessing.mean,
        std=preprocessing.std,
        re_prob=augmentation.random_erasing,
        separate=True,
    )
    return [list(stage.transforms) for stage in stages]


def _keeps_whole(augmentation: Augmentation) -> bool:
    return tuple(augmentation.scale) == (1, 1) and tuple(augmentation.ratio) == (1, 1)


def _resize_whole(preprocessing: Preprocessing) -> Callable[[Image.Image], Image.Image]:
    size = (preprocessing.image_size, preprocessing.image_size)
    if preprocessing.interpolation == OPENCV:
        return OpenCVResize(size)
    return methodcaller("resize", size, str_to_pil_interp(preprocessing.interpolation))
