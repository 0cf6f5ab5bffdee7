"""The RedNet family as data: depths, widths, stems, and what timm records of each variant.

This module imports neither torch nor timm, so that the configuration can be checked without them.
"""

from typing import Any

LAYERS = {
    "rednet26": (1, 2, 4, 1),
    "rednet38": (2, 3, 5, 2),
    "rednet50": (3, 4, 6, 3),
    "rednet101": (3, 4, 23, 3),
    "rednet152": (3, 8, 36, 3),
}
"""Blocks of each stage."""

STAGES = (1, 2, 3, 4)
STAGE_WIDTHS = (64, 128, 256, 512)
STAGE_STRIDES = (1, 2, 2, 2)
STEM_WIDTHS = (32, 64)
WIDTH_DIVISOR = 16
EXPANSION = 4

STEM_KERNEL_SIZES = {"involution3": 3, "involution7": 7, "small": 3}
STEMS = (*STEM_KERNEL_SIZES, "conv7")

PRETRAINED_CFG: dict[str, Any] = {
    "num_classes": 1000,
    "input_size": (3, 224, 224),
    "pool_size": (7, 7),
    "crop_pct": 0.875,
    "interpolation": "bilinear",
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
    "first_conv": "stem.0.conv",
    "classifier": "fc",
    "license": "mit",
    "origin_url": "https://github.com/d-li14/involution",
    "paper_ids": "arXiv:2103.06255",
    "paper_name": "Involution: Inverting the Inherence of Convolution for Visual Recognition",
}
"""timm's description of the released weights, the same for every variant."""
