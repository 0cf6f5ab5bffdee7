"""What was published about RedNet and its rivals, as data; nothing in here was measured here.

Parameters are in millions, complexity in units of 10^9, accuracies in percent on ImageNet, 224 x
224, one crop. None stands for what no source could be found for.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Figures:
    """Published figures of a network, as text so that their last printed digit is known."""

    parameters: str
    flops: str
    top1: str | None
    top5: str | None = None


PAPER = {
    26: Figures("9.2", "1.7", "75.9"),
    38: Figures("12.4", "2.2", "77.6"),
    50: Figures("15.5", "2.7", "78.4"),
    101: Figures("25.6", "4.7", "79.1"),
    152: Figures("34.0", "6.8", "79.3"),
}
"""RedNets as the paper's main table has them, one-decimal figures."""

MODEL_ZOO = {
    26: Figures("9.23", "1.73", "75.96", "93.19"),
    38: Figures("12.39", "2.22", "77.48", "93.57"),
    50: Figures("15.54", "2.71", "78.35", "94.13"),
    101: Figures("25.65", "4.74", "78.92", "94.35"),
    152: Figures("33.99", "6.79", "79.12", "94.38"),
}
"""RedNets as the README of the authors' repository has them, which released the weights."""

RESNET = {
    26: Figures("13.7", "2.4", "73.6"),
    38: Figures("19.6", "3.2", "76.0"),
    50: Figures("25.6", "4.1", "76.8"),
    101: Figures("44.6", "7.9", "78.5"),
    152: Figures("60.2", "11.6", "79.3"),
}
"""ResNets as the paper compares itself with; accuracies read off the authors' plots."""

RESNET_PLOTTED_FLOPS = {26: "2.36", 38: "3.24", 50: "4.12", 101: "7.85", 152: "11.58"}
"""ResNets' FLOPs as the authors' plots of accuracy against complexity have them."""

ABLATION_KERNEL_SIZE = {
    3: Figures("14.7", "2.4", "76.9"),
    5: Figures("15.1", "2.5", "77.4"),
    7: Figures("15.5", "2.6", "77.7"),
    9: Figures("16.2", "2.7", "77.8"),
}
ABLATION_GROUP_CHANNELS: dict[int | str, Figures] = {
    1: Figures("30.2", "5.0", "77.9"),
    4: Figures("18.5", "3.0", "77.7"),
    16: Figures("15.5", "2.6", "77.7"),
    "layer": Figures("14.6", "2.4", "76.5"),
}
ABLATION_GENERATOR: dict[int | None, Figures] = {
    None: Figures("18.1", "3.0", "77.8"),
    1: Figures("19.4", "3.2", "77.8"),
    4: Figures("15.5", "2.6", "77.7"),
    16: Figures("14.6", "2.4", "77.4"),
}
"""By the reduction r of W1 s W0; None is the single W."""


@dataclass(frozen=True)
class Competitor:
    """A family of networks that the plots of accuracy against size have beside RedNet and ResNet.

    Attributes:
        name: Of the family.
        sizes: What its members are called.
        parameters: In millions, of each.
        flops: In 10^9, of each.
        top1: In percent, of each.
    """

    name: str
    sizes: tuple[str, ...]
    parameters: tuple[float, ...]
    flops: tuple[float, ...]
    top1: tuple[float, ...]


COMPETITORS = (
    # Read off the plots, to about 0.02.
    Competitor(
        "Local Relation Net",
        ("26", "50", "101"),
        (14.7, 23.3, 42.0),
        (2.6, 4.3, 8.0),
        (75.7, 77.3, 78.5),
    ),
    Competitor(
        "Stand-alone attention, conv stem",
        ("26", "38", "50"),
        (10.3, 14.1, 18.0),
        (2.25, 2.35, 3.5),
        (75.8, 77.1, 77.4),
    ),
    Competitor(
        "Stand-alone attention, full",
        ("26", "38", "50"),
        (10.3, 14.1, 18.0),
        (2.4, 3.0, 3.6),
        (74.8, 76.9, 77.6),
    ),
    Competitor(
        "Axial attention, conv stem",
        ("1", "2", "3", "4"),
        (7.4, 12.4, 26.4, 45.6),
        (1.8, 2.8, 5.7, 9.6),
        (76.4, 77.5, 78.6, 79.0),
    ),
    Competitor(
        "Axial attention, full",
        ("S", "M", "L"),
        (12.5, 26.5, 45.7),
        (3.3, 6.8, 11.6),
        (78.1, 79.2, 79.3),
    ),
    Competitor(
        "SAN, pairwise",
        ("10", "15", "19"),
        (10.5, 14.1, 17.6),
        (2.2, 3.0, 3.8),
        (75.5, 77.1, 77.4),
    ),
    Competitor(
        "SAN, patchwise",
        ("10", "15", "19"),
        (11.8, 16.2, 20.5),
        (1.9, 2.6, 3.3),
        (77.1, 78.2, 78.5),
    ),
    Competitor(
        "AA-ResNet",
        ("50", "101"),
        (25.8, 45.4),
        (8.3 / 2, 16.1 / 2),
        (77.7, 78.7),
    ),
)
"""The rivals: those in the authors' plots, and AA-ResNet by notes that quote its paper.

SAN's own repository prints 74.9 to 78.2 for its networks. AA-ResNet's paper counts multiplications
and additions, so its 8.3 and 16.1 G are halved.
"""
