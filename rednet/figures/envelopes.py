"""The envelopes of accuracy against complexity and against parameters, as published."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from rednet.figures.labels import Label, place_labels
from rednet.figures.style import COLUMN_WIDTH, GRAY, LIGHT_GRAY, VERMILION, add_note, paper_style
from rednet.paper.published import (
    COMPETITORS,
    MODEL_ZOO,
    PAPER,
    RESNET,
    NetworkFamily,
    PublishedResult,
)

AXES = {"flops": "complexity, G FLOPs (published)", "parameters": "parameters, M"}
"""Labels of the horizontal axis, by attribute of `NetworkFamily`."""

TICKS = {"flops": (2, 3, 4, 5, 6, 8, 10, 12), "parameters": (8, 10, 15, 20, 30, 40, 60)}
"""Ticks of the horizontal axis, which is logarithmic: the small networks are many."""

REDNET, RELEASED = "RedNet", "RedNet, released weights"
NOTE = (
    "published results, ImageNet at 224 x 224; "
    "accuracies\nother than RedNet's and AA-ResNet's read off plots"
)
FLOPS_NOTE = "\nstand-alone attention-38, conv stem: 2.35 G plotted, 2.85 G in its paper"
NOTES = {"flops": NOTE + FLOPS_NOTE, "parameters": NOTE}
"""The footnote by attribute of `NetworkFamily`."""
LABEL_SIZE = 6

_LINE_STYLES: dict[str, dict[str, Any]] = {
    REDNET: {"color": VERMILION, "marker": "o", "linewidth": 1.6, "markersize": 4.2, "zorder": 4},
    RELEASED: {"color": VERMILION, "marker": "o", "linestyle": ":", "zorder": 3},
    "ResNet": {"color": "black", "marker": "s", "zorder": 3},
    "AA-ResNet": {"color": LIGHT_GRAY, "marker": "X"},
    "Local Relation Net": {"color": LIGHT_GRAY, "marker": "D"},
    "SAN, patchwise": {"color": LIGHT_GRAY, "marker": "v"},
    "SAN, pairwise": {"color": LIGHT_GRAY, "marker": "v", "linestyle": "--"},
    "Stand-alone attention, full": {"color": LIGHT_GRAY, "marker": "^"},
    "Stand-alone attention, conv stem": {"color": LIGHT_GRAY, "marker": "^", "linestyle": "--"},
    "Axial attention, full": {"color": LIGHT_GRAY, "marker": "P"},
    "Axial attention, conv stem": {"color": LIGHT_GRAY, "marker": "P", "linestyle": "--"},
}
"""Keywords of `Axes.plot` by family, in the order of the legend."""


def families() -> list[NetworkFamily]:
    """Return RedNet as in the paper and as released, ResNet, and the families compared with."""
    rednets_and_resnet = ((REDNET, PAPER), (RELEASED, MODEL_ZOO), ("ResNet", RESNET))
    return [*(_family(name, results) for name, results in rednets_and_resnet), *COMPETITORS]


def _family(name: str, results: dict[int, PublishedResult]) -> NetworkFamily:
    return NetworkFamily(
        name,
        tuple(str(depth) for depth in results),
        tuple(float(result.parameters) for result in results.values()),
        tuple(float(result.flops) for result in results.values()),
        tuple(float(result.top1 or "nan") for result in results.values()),
    )


def published_rows() -> list[dict[str, Any]]:
    """Return the points of both figures as records."""
    return [
        {
            "family": family.name,
            "size": size,
            "parameters_m": family.parameters[index],
            "flops_g": family.flops[index],
            "top1": family.top1[index],
            "source": "published",
            "note": family.notes.get(size, ""),
        }
        for family in families()
        for index, size in enumerate(family.sizes)
    ]


@paper_style
def draw_envelope(against: str) -> Figure:
    """Draw the top-1 accuracy of every family against "flops" or "parameters"."""
    figure = Figure(figsize=(COLUMN_WIDTH, 4.75), layout="constrained")
    axes = figure.subplots()
    ordered = sorted(families(), key=lambda family: list(_LINE_STYLES).index(family.name))
    for family in ordered:
        _draw_family(axes, family, against)
    axes.set(xlabel=AXES[against], ylabel="ImageNet top-1, %", ylim=(73.2, 79.75), xscale="log")
    axes.set_xticks(TICKS[against], [str(tick) for tick in TICKS[against]])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid()
    axes.legend(
        loc="upper center",
        bbox_to_anchor=(0.44, -0.13),
        ncols=2,
        handlelength=2.6,
        columnspacing=1.2,
    )
    add_note(figure, NOTES[against])
    place_labels(axes, _labels(ordered, against), LABEL_SIZE)
    return figure


def _draw_family(axes: Axes, family: NetworkFamily, against: str) -> None:
    style = {"linewidth": 0.8, "markersize": 3.2, **_LINE_STYLES[family.name]}
    is_hollow = "linestyle" in style
    axes.plot(
        getattr(family, against),
        family.top1,
        label=family.name,
        markerfacecolor="white" if is_hollow else style["color"],
        markeredgewidth=0.7,
        **style,
    )


def _labels(ordered: Sequence[NetworkFamily], against: str) -> list[Label]:
    """Label each network with its size; the released RedNets lie next to the paper's."""
    return [
        Label(x, y, size, _label_color(family.name), bold=family.name == REDNET)
        for family in ordered
        if family.name != RELEASED
        for x, y, size in zip(getattr(family, against), family.top1, family.sizes, strict=True)
    ]


def _label_color(family: str) -> str:
    """Return the family's color, or a darker gray where it would be too light for text."""
    color = _LINE_STYLES[family]["color"]
    return GRAY if color == LIGHT_GRAY else str(color)
