"""Automatic augmentation policies: checks and fixes for timm's, and torchvision's."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from PIL import Image, ImageOps
from timm.data.auto_augment import AugmentOp, AutoAugment
from torchvision.transforms import InterpolationMode, TrivialAugmentWide

from rednet.errors import InputError

TRIVIAL = "trivial"
"""The name of torchvision's TrivialAugmentWide, https://arxiv.org/abs/2103.10158."""

_NUMBER = r"\d+(\.\d+)?"
_POLICY = re.compile(
    rf"rand(-(m\d+|n\d+|p{_NUMBER}|mstd{_NUMBER}|mmax\d+|inc[01]|t(weights|3aw?)))*"
    rf"|(original|originalr|v0|v0r|3a)(-mstd{_NUMBER})?"
    rf"|augmix(-(m\d+|w\d+|d\d+|a{_NUMBER}|b[01]|mstd{_NUMBER}))*"
)


def check_policy(text: str) -> None:
    """Check the text of a policy, of which timm ignores the parts it does not know.

    Raises:
        InputError: The text is not a policy of timm's, nor `TRIVIAL`.
    """
    if text != TRIVIAL and not _POLICY.fullmatch(text):
        raise InputError(
            f"auto_augment {text!r} is not a policy of timm's: try rand-m9-mstd0.5, original, "
            f"augmix-m3-w3, or torchvision's {TRIVIAL}"
        )


def trivial_augment(interpolation: str) -> TrivialAugmentWide:
    """Build the policy `TRIVIAL`, which fills what an operation uncovers with black.

    Args:
        interpolation: Pillow's filter for rotating and shearing, bicubic instead of Lanczos.
    """
    return TrivialAugmentWide(
        interpolation=InterpolationMode("bicubic" if interpolation == "lanczos" else interpolation)
    )


def fix_policy(policy: Callable) -> None:
    """Change, in place, the operations that fail with current versions of Pillow.

    Posterizing to 0 bits, which some magnitudes ask for, keeps 1 bit instead. Rotating and shearing
    use the bicubic filter where they are given the Lanczos filter, which Pillow rejects.
    """
    for operation in _operations(policy):
        if operation.name.startswith("Posterize"):
            operation.aug_fn = _posterize
        if operation.kwargs["resample"] == Image.Resampling.LANCZOS:
            operation.kwargs["resample"] = Image.Resampling.BICUBIC


def _operations(policy: Any) -> Iterator[AugmentOp]:
    if isinstance(policy, AutoAugment):
        for sub_policy in policy.policy:
            yield from sub_policy
    else:
        yield from policy.ops


def _posterize(image: Image.Image, bits_to_keep: int, **_: Any) -> Image.Image:
    return ImageOps.posterize(image, min(8, max(1, bits_to_keep)))
