"""Effective receptive fields as a picture."""

from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Rectangle

from rednet.figures.receptive_field import PARTS, ReceptiveField
from rednet.figures.style import NOTE_SIZE, PAGE_WIDTH, SKY, paper_style

COLOURS = "magma"
DECADES = 4
"""Powers of ten that the colours span; less influence than that is black."""

LINE_STYLES: tuple[Literal["-", "--", ":"], ...] = ("-", "--", ":")


@paper_style
def draw_receptive_fields(fields: list[ReceptiveField]) -> Figure:
    """The influence of every pixel by stage, logarithmic and relative to the greatest.

    Circles hold parts of it; a box is the theoretical receptive field, where the image is larger.
    """
    figure = Figure(figsize=(PAGE_WIDTH, PAGE_WIDTH / len(fields) + 0.25), layout="constrained")
    panels = figure.subplots(1, len(fields), squeeze=False)[0]
    for axes, field in zip(panels, fields, strict=True):
        drawn = _draw_influence(axes, field)
        _draw_circles(axes, field)
        _draw_box(axes, field)
        axes.set_title(_title(field))
    bar = figure.colorbar(drawn, ax=panels, fraction=0.03, pad=0.01, aspect=28)
    bar.ax.tick_params(labelsize=NOTE_SIZE, length=2, pad=1)
    bar.set_label("influence", fontsize=6)
    figure.legend(handles=_legend(), loc="outside lower center", ncols=4)
    return figure


def _legend() -> list[Line2D]:
    circles = [
        Line2D([], [], color="black", linestyle=style, label=f"{100 * part:g} % of the influence")
        for part, style in zip(PARTS, LINE_STYLES, strict=True)
    ]
    return [*circles, Line2D([], [], color=SKY, label="theoretical receptive field")]


def _title(field: ReceptiveField) -> str:
    if field.extent is None:
        return field.stage
    return f"{field.stage} (theoretically {field.extent.width} px)"


def _draw_influence(axes: Axes, field: ReceptiveField) -> AxesImage:
    least = 10.0**-DECADES
    influence = np.maximum(field.influence / field.influence.max(), least)
    ends = [0, len(influence) - 1]
    drawn = axes.imshow(influence, cmap=COLOURS, norm=LogNorm(least, 1), interpolation="nearest")
    axes.set(xticks=ends, yticks=ends, autoscale_on=False)
    axes.label_outer()
    return drawn


def _draw_circles(axes: Axes, field: ReceptiveField) -> None:
    row, column = field.centre
    for part, style in zip(PARTS, LINE_STYLES, strict=True):
        circle = Circle((column, row), field.radius(part))
        circle.set(fill=False, edgecolor="white", linestyle=style, linewidth=0.8)
        axes.add_patch(circle)


def _draw_box(axes: Axes, field: ReceptiveField) -> None:
    if field.extent is None:
        return
    row, column = (centre - field.extent.before - 0.5 for centre in field.centre)
    box = Rectangle((column, row), field.extent.width, field.extent.width)
    box.set(fill=False, edgecolor=SKY, linewidth=1.0)
    axes.add_patch(box)
