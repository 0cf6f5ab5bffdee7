"""timm's automatic augmentation policies: their text checked, their operations made to run."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from PIL import Image, ImageOps
from timm.data.auto_augment import AugmentOp, AutoAugment

from rednet.errors import InputError

_NUMBER = r"\d+(\.\d+)?"
_POLICY = re.compile(
    rf"rand(-(m\d+|n\d+|p{_NUMBER}|mstd{_NUMBER}|mmax\d+|inc[01]|t(weights|3aw?)))*"
    rf"|(original|originalr|v0|v0r|3a)(-mstd{_NUMBER})?"
    rf"|augmix(-(m\d+|w\d+|d\d+|a{_NUMBER}|b[01]|mstd{_NUMBER}))*"
)


def check_policy(text: str) -> None:
    """Check all parts of a policy's text: timm passes over parts that it does not know.

    Raises:
        InputError: naming some policies that exist.
    """
    if not _POLICY.fullmatch(text):
        raise InputError(
            f"auto_augment {text!r} is no policy of timm's: try rand-m9-mstd0.5, original or "
            "augmix-m3-w3"
        )


def mend_policy(policy: Callable) -> None:
    """Change in place the operations that raise an error with today's Pillow.

    Posterizing to 0 bits, which strong "inc" and weak plain policies now and then ask for, keeps
    1 bit. Rotating and shearing know no Lanczos filter and use bicubic.
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
