"""Published results of RedNet and of the networks it is compared with, as data.

Parameters are in millions, complexity in units of 10^9, accuracies in percent on ImageNet at 224 x
224 with one crop. None means that no source was found. Nothing here was measured by this package.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class PublishedResult:
    """The published results of one network, as text to keep the number of printed digits.

    Attributes:
        parameters: Number of parameters in millions.
        flops: Complexity in units of 10^9.
        top1: Top-1 accuracy in percent.
        top5: Top-5 accuracy in percent.
    """

    parameters: str
    flops: str
    top1: str | None
    top5: str | None = None


PAPER = {
    26: PublishedResult("9.2", "1.7", "75.9"),
    38: PublishedResult("12.4", "2.2", "77.6"),
    50: PublishedResult("15.5", "2.7", "78.4"),
    101: PublishedResult("25.6", "4.7", "79.1"),
    152: PublishedResult("34.0", "6.8", "79.3"),
}
"""RedNet by depth in the paper's Table 1, with one decimal.

The authors' plot of accuracy against complexity shows RedNet-101 at 79.0 %.
"""

MODEL_ZOO = {
    26: PublishedResult("9.23", "1.73", "75.96", "93.19"),
    38: PublishedResult("12.39", "2.22", "77.48", "93.57"),
    50: PublishedResult("15.54", "2.71", "78.35", "94.13"),
    101: PublishedResult("25.65", "4.74", "78.92", "94.35"),
    152: PublishedResult("33.99", "6.79", "79.12", "94.38"),
}
"""RedNet by depth in the README of the authors' repository, where the weights were released."""

RESNET = {
    26: PublishedResult("13.7", "2.4", "73.6"),
    38: PublishedResult("19.6", "3.2", "76.0"),
    50: PublishedResult("25.6", "4.1", "76.8"),
    101: PublishedResult("44.6", "7.9", "78.5"),
    152: PublishedResult("60.2", "11.6", "79.3"),
}
"""ResNet by depth in the paper; the accuracies are read off the authors' plots."""

RESNET_PLOTTED_FLOPS = {26: "2.36", 38: "3.24", 50: "4.12", 101: "7.85", 152: "11.58"}
"""FLOPs of ResNet by depth, read off the authors' plot of accuracy against complexity."""

ABLATION_KERNEL_SIZE = {
    3: PublishedResult("14.7", "2.4", "76.9"),
    5: PublishedResult("15.1", "2.5", "77.4"),
    7: PublishedResult("15.5", "2.6", "77.7"),
    9: PublishedResult("16.2", "2.7", "77.8"),
}
"""RedNet-50 by kernel size."""

ABLATION_GROUP_CHANNELS: dict[int | str, PublishedResult] = {
    1: PublishedResult("30.2", "5.0", "77.9"),
    4: PublishedResult("18.5", "3.0", "77.7"),
    16: PublishedResult("15.5", "2.6", "77.7"),
    "layer": PublishedResult("14.6", "2.4", "76.5"),
}
"""RedNet-50 by channels per group; "layer" is one group for all channels."""

ABLATION_GENERATOR: dict[int | None, PublishedResult] = {
    None: PublishedResult("18.1", "3.0", "77.8"),
    1: PublishedResult("19.4", "3.2", "77.8"),
    4: PublishedResult("15.5", "2.6", "77.7"),
    16: PublishedResult("14.6", "2.4", "77.4"),
}
"""RedNet-50 by the reduction r of the kernel generator W1 s W0; None is the single matrix W."""


@dataclass(frozen=True)
class NetworkFamily:
    """The published results of a family of networks, one entry per network.

    Attributes:
        name: Name of the family.
        sizes: Name of each network within the family, such as its depth.
        parameters: Number of parameters in millions.
        flops: Complexity in units of 10^9.
        top1: Top-1 accuracy in percent.
        source: Where the numbers were published.
        notes: By size, sources that differ from `source` or contradict it.
    """

    name: str
    sizes: tuple[str, ...]
    parameters: tuple[float, ...]
    flops: tuple[float, ...]
    top1: tuple[float, ...]
    source: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)


PLOTS = "plots of the involution paper's authors, read to about 0.02"

COMPETITORS = (
    NetworkFamily(
        "Local Relation Net",
        ("26", "50", "101"),
        (14.7, 23.3, 42.0),
        (2.6, 4.3, 8.0),
        (75.7, 77.3, 78.5),
        PLOTS,
    ),
    NetworkFamily(
        "Stand-alone attention, conv stem",
        ("26", "38", "50"),
        (10.3, 14.1, 18.0),
        (2.25, 2.35, 3.5),
        (75.8, 77.1, 77.4),
        PLOTS,
        {
            "38": (
                "2.35 G is read off the plot. The table of the network's own paper has 5.7 G with "
                "multiplications and additions counted separately, which halved is 2.85 G."
            )
        },
    ),
    NetworkFamily(
        "Stand-alone attention, full",
        ("26", "38", "50"),
        (10.3, 14.1, 18.0),
        (2.35, 3.0, 3.6),
        (74.8, 76.9, 77.6),
        PLOTS,
        {"26": "2.35 G is read off the plot; with one decimal it is 2.4 G."},
    ),
    NetworkFamily(
        "Axial attention, conv stem",
        ("1", "2", "3", "4"),
        (7.4, 12.4, 26.4, 45.6),
        (1.8, 2.8, 5.7, 9.6),
        (76.4, 77.5, 78.6, 79.0),
        PLOTS,
    ),
    NetworkFamily(
        "Axial attention, full",
        ("S", "M", "L"),
        (12.5, 26.5, 45.7),
        (3.3, 6.8, 11.6),
        (78.1, 79.2, 79.3),
        PLOTS,
    ),
    NetworkFamily(
        "SAN, pairwise",
        ("10", "15", "19"),
        (10.5, 14.1, 17.6),
        (2.2, 3.0, 3.8),
        (75.5, 77.1, 77.4),
        PLOTS,
    ),
    NetworkFamily(
        "SAN, patchwise",
        ("10", "15", "19"),
        (11.8, 16.2, 20.5),
        (1.9, 2.6, 3.3),
        (77.1, 78.2, 78.5),
        PLOTS,
    ),
    NetworkFamily(
        "AA-ResNet",
        ("50", "101"),
        (25.8, 45.4),
        (8.3 / 2, 16.1 / 2),
        (77.7, 78.7),
        "notes that quote its paper; multiplications and additions counted separately, halved here",
    ),
)
"""The other families in the authors' plots, and AA-ResNet.

SAN's repository reports 74.9 to 78.2 % for its networks.
"""
