"""The taps' average weights as maps, by stage and by block, and against their distance."""

from collections.abc import Mapping
from math import ceil

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from rednet.figures.style import (
    BLUE,
    COLUMN_WIDTH,
    DIVERGING,
    GRAY,
    GREEN,
    NOTE_SIZE,
    PAGE_WIDTH,
    PURPLE,
    SEQUENTIAL,
    VERMILION,
    add_note,
    paper_style,
)
from rednet.figures.taps import Taps, distance_profile

QUANTITIES = {
    "mean": "mean weight",
    "mean_absolute": "mean absolute weight",
    "spread": "std of the mean weight\nover groups",
}
BLOCKS_NOTE = "below each map: its largest absolute value, where its own colour scale ends"
BLOCKS_IN_A_ROW = 12
COLOURS = (GRAY, BLUE, GREEN, PURPLE, VERMILION)


@paper_style
def draw_stages(stages: Mapping[str, Taps]) -> Figure:
    """Mean weight, mean absolute weight, and spread over groups: a row each, a column a stage."""
    columns = max(3, len(stages))
    side = PAGE_WIDTH / columns
    figure = Figure(figsize=(PAGE_WIDTH, (side - 0.2) * len(QUANTITIES)), layout="constrained")
    grid = figure.add_gridspec(len(QUANTITIES), columns)
    for row, (quantity, title) in enumerate(QUANTITIES.items()):
        for column, (stage, taps) in enumerate(stages.items()):
            axes = figure.add_subplot(grid[row, column])
            drawn = _draw_map(axes, getattr(taps, quantity), quantity)
            bar = figure.colorbar(drawn, ax=axes, fraction=0.046, pad=0.03)
            bar.ax.tick_params(labelsize=5, length=2, pad=1)
            bar.locator = MaxNLocator(3)
            axes.set_title("" if row else stage)
            axes.set_ylabel("" if column else title)
    return figure


@paper_style
def draw_blocks(taps: Mapping[str, Taps], quantity: str) -> Figure:
    """One of `QUANTITIES` for every layer.

    Every map has its own colour scale; its largest absolute value is written below it.
    """
    columns = min(BLOCKS_IN_A_ROW, max(6, len(taps)))
    lines = ceil(len(taps) / columns)
    size = PAGE_WIDTH, (PAGE_WIDTH / columns + 0.24) * lines + 0.15
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.add_gridspec(lines, columns)
    for index, (name, own) in enumerate(taps.items()):
        axes = figure.add_subplot(grid[divmod(index, columns)])
        values = getattr(own, quantity)
        _draw_map(axes, values, quantity)
        axes.set_title(name, fontsize=NOTE_SIZE, pad=2)
        axes.set_xlabel(f"{np.abs(values).max():.2g}", fontsize=NOTE_SIZE, labelpad=2)
    add_note(figure, BLOCKS_NOTE)
    return figure


@paper_style
def draw_distances(stages: Mapping[str, Taps]) -> Figure:
    """Mean absolute weight against the distance from the centre, by stage.

    The bands are the standard deviation over groups. Each stage is divided by its own mean over
    all taps, so that 1 is what every tap would have if they were used alike.
    """
    figure = Figure(figsize=(COLUMN_WIDTH, 2.3), layout="constrained")
    axes = figure.subplots()
    for number, (stage, taps) in enumerate(stages.items()):
        colour = COLOURS[number % len(COLOURS)]
        _draw_profile(axes, taps, stage, colour)
    axes.axhline(1, color="black", linewidth=0.6, linestyle=":")
    axes.set(
        xlabel="distance of a tap from the centre, taps",
        ylabel="mean absolute weight\n(1 = mean over the taps)",
    )
    axes.set_ylim(bottom=0)
    axes.grid()
    axes.legend(ncols=2)
    return figure


def _draw_profile(axes: Axes, taps: Taps, stage: str, colour: str) -> None:
    profile = distance_profile(taps)
    distance, mean, spread = (
        np.array([point[key] for point in profile])
        for key in ("distance", "mean_absolute", "spread_over_groups")
    )
    whole = taps.absolute.mean() or 1.0
    axes.plot(distance, mean / whole, color=colour, marker="o", markersize=2.5, label=stage)
    edges = (mean - spread) / whole, (mean + spread) / whole
    axes.fill_between(distance, *edges, color=colour, alpha=0.1, linewidth=0)


def _draw_map(axes: Axes, values: np.ndarray, quantity: str) -> AxesImage:
    """A (K, K) map, its colours symmetric about 0 if the values have signs, else from 0."""
    limit = float(np.abs(values).max()) or 1.0
    axes.set(xticks=[], yticks=[])
    if quantity == "mean":
        return axes.imshow(values, cmap=DIVERGING, vmin=-limit, vmax=limit)
    return axes.imshow(values, cmap=SEQUENTIAL, vmin=0, vmax=limit)
