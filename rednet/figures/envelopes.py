"""Accuracy against complexity and against parameters, as published."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rednet.figures.labels import Label, place_labels
from rednet.figures.style import (
    BLUE,
    GRAY,
    GREEN,
    PAGE_WIDTH,
    PURPLE,
    SKY,
    VERMILION,
    add_note,
    paper_style,
)
from rednet.paper.published import (
    COMPETITORS,
    MODEL_ZOO,
    PAPER,
    RESNET,
    NetworkFamily,
    PublishedResult,
)

AXES = {"flops": "complexity, G FLOPs (published)", "parameters": "parameters, M"}
"""What accuracy can be drawn against."""

REDNET, RELEASED = "RedNet", "RedNet, released weights"
NOTE = (
    "published figures, ImageNet 224 x 224; "
    "accuracies of all but RedNet and AA-ResNet read off plots"
)
LABEL_SIZE = 6

_LOOKS: dict[str, dict[str, Any]] = {
    REDNET: {"color": VERMILION, "marker": "o", "linewidth": 1.6, "markersize": 4.2, "zorder": 4},
    RELEASED: {"color": VERMILION, "marker": "o", "linestyle": ":", "zorder": 3},
    "ResNet": {"color": "black", "marker": "s", "zorder": 3},
    "Local Relation Net": {"color": PURPLE, "marker": "D"},
    "Stand-alone attention, full": {"color": GREEN, "marker": "^"},
    "Stand-alone attention, conv stem": {"color": GREEN, "marker": "^", "linestyle": "--"},
    "Axial attention, full": {"color": BLUE, "marker": "P"},
    "Axial attention, conv stem": {"color": BLUE, "marker": "P", "linestyle": "--"},
    "SAN, patchwise": {"color": SKY, "marker": "v"},
    "SAN, pairwise": {"color": SKY, "marker": "v", "linestyle": "--"},
    "AA-ResNet": {"color": GRAY, "marker": "X"},
}


def families() -> list[NetworkFamily]:
    """RedNet of the paper and as released, ResNet, and every rival."""
    own = ((REDNET, PAPER), (RELEASED, MODEL_ZOO), ("ResNet", RESNET))
    return [*(_family(name, networks) for name, networks in own), *COMPETITORS]


def _family(name: str, networks: dict[int, PublishedResult]) -> NetworkFamily:
    return NetworkFamily(
        name,
        tuple(str(depth) for depth in networks),
        tuple(float(figures.parameters) for figures in networks.values()),
        tuple(float(figures.flops) for figures in networks.values()),
        tuple(float(figures.top1 or "nan") for figures in networks.values()),
    )


def rows() -> list[dict[str, Any]]:
    """The points of both figures."""
    return [
        {
            "family": family.name,
            "size": size,
            "parameters_m": family.parameters[index],
            "flops_g": family.flops[index],
            "top1": family.top1[index],
            "source": "published",
        }
        for family in families()
        for index, size in enumerate(family.sizes)
    ]


@paper_style
def draw_envelope(against: str) -> Figure:
    """Top-1 of every family against "flops" or "parameters"."""
    figure = Figure(figsize=(PAGE_WIDTH, 3.7), layout="constrained")
    axes = figure.subplots()
    drawn = sorted(families(), key=lambda family: list(_LOOKS).index(family.name))
    for family in drawn:
        _draw_family(axes, family, against)
    axes.set(xlabel=AXES[against], ylabel="ImageNet top-1, %", ylim=(73.2, 79.75))
    axes.grid()
    axes.legend(loc="lower right", handlelength=2.8, frameon=True, edgecolor="none", framealpha=1)
    add_note(figure, NOTE)
    place_labels(axes, _labels(drawn, against), LABEL_SIZE)
    return figure


def _draw_family(axes: Axes, family: NetworkFamily, against: str) -> None:
    look = {"linewidth": 0.9, **_LOOKS[family.name]}
    hollow = "linestyle" in look
    face = "white" if hollow else look["color"]
    sizes = getattr(family, against)
    axes.plot(
        sizes,
        family.top1,
        label=family.name,
        markerfacecolor=face,
        markeredgewidth=0.8,
        **look,
    )


def _labels(drawn: Sequence[NetworkFamily], against: str) -> list[Label]:
    """The sizes of the networks; those of the released weights are the paper's."""
    return [
        Label(x, y, size, _LOOKS[family.name]["color"], bold=family.name == REDNET)
        for family in drawn
        if family.name != RELEASED
        for x, y, size in zip(getattr(family, against), family.top1, family.sizes, strict=True)
    ]
