"""The RedNet family as data: depths, widths, stems, and timm's configuration.

A new depth is one entry of `LAYERS`, a new stem one entry of `STEMS`: the configuration's choices,
timm's registry, the inference of architectures from checkpoints and the paper's tables follow.

This module imports neither torch nor timm, so that the configuration can be checked without them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LAYERS = {
    "rednet26": (1, 2, 4, 1),
    "rednet38": (2, 3, 5, 2),
    "rednet50": (3, 4, 6, 3),
    "rednet101": (3, 4, 23, 3),
    "rednet152": (3, 8, 36, 3),
}
"""Blocks of each stage, by the network's name in timm."""

STAGES = (1, 2, 3, 4)
STAGE_WIDTHS = (64, 128, 256, 512)
STAGE_STRIDES = (1, 2, 2, 2)
WIDTH_DIVISOR = 16
"""Widths are multiples of it, which the group channels of all involutions divide."""
EXPANSION = 4
"""Output channels of a bottleneck divided by its width."""


@dataclass(frozen=True)
class Stem:
    """The layers before the first stage.

    A stem is one convolution or, with an involution, convolution, involution and 3x3 convolution.

    Attributes:
        first_kernel_size: Kernel size of the first convolution.
        stride: Stride of the first convolution.
        involution_kernel_size: Kernel size of the involution, None for a stem without one.
        has_max_pool: Whether a 3x3 max-pooling of stride 2 follows.
        label: Name in the paper's tables; None keeps the stem out of them.
        origin: Where the stem is known from, for the tables' titles; None adds nothing to them.
    """

    first_kernel_size: int = 3
    stride: int = 2
    involution_kernel_size: int | None = None
    has_max_pool: bool = True
    label: str | None = None
    origin: str | None = None

    @property
    def kernel_sizes(self) -> tuple[int, int | None]:
        """Kernel sizes of the first convolution and of the involution, if there is one."""
        return self.first_kernel_size, self.involution_kernel_size

    @property
    def reduction(self) -> int:
        """Image size divided by the size of the first stage's input, per side."""
        return self.stride * (2 if self.has_max_pool else 1)


STEMS = {
    # The default. The weights released for detection have "involution7", too.
    "involution3": Stem(
        involution_kernel_size=3, label="3x3 stem", origin="as released for classification"
    ),
    "involution7": Stem(
        involution_kernel_size=7, label="7x7 stem", origin="whose complexity was published"
    ),
    # ResNet's stem, which the complexity of the paper's ablations implies.
    "conv7": Stem(first_kernel_size=7, label="plain stem"),
    # For images of up to 64 pixels. Its tensors have the shapes of "involution3".
    "small": Stem(stride=1, involution_kernel_size=3, has_max_pool=False),
}
"""Stems by name. If a checkpoint's tensors fit several, the first one is assumed."""

STEM_WIDTHS = (32, 64)
"""Channels inside a stem with an involution, and output channels of every stem."""
STEM_GROUP_CHANNELS = 16
"""Channels that share a kernel in a stem's involution."""

UNSEEN: dict[str, Any] = {"act_layer": "relu", "global_pool": "avg", "output_stride": 32}
"""Defaults of options that change the outputs and never show in the tensors."""
HIDDEN_DEFAULTS: dict[str, Any] = {
    "stem": "involution3",
    "act_layer": "relu",
    "generator_options": {},
}
"""Defaults of options of which another value may fit the same tensors, but gives nonsense."""

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
"""timm's configuration of the released weights, the same for every variant."""


def network_label(name: str, options: Mapping[str, Any]) -> str:
    """Return what to call a network: its name in timm, or resnet50 for RedNet-50 as a ResNet."""
    is_resnet = name in LAYERS and options.get("involution_stages") == []
    return name.replace("rednet", "resnet") if is_resnet else name
