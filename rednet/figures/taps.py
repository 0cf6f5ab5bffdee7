"""Mean generated weights of the K x K taps, by layer and by stage, and their figures."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from math import ceil
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator
from torch import Tensor, nn

from rednet.figures.generated_kernels import Layers, observe_kernels, stage_of
from rednet.figures.input_images import Images
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


@dataclass(frozen=True)
class Taps:
    """Averages over images and positions of the weights of the taps, for each group.

    Attributes:
        signed: Of the weights themselves, (G, K, K).
        absolute: Of their absolute values, (G, K, K).
    """

    signed: np.ndarray
    absolute: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """Mean weight over the groups too, (K, K)."""
        return self.signed.mean(0)

    @property
    def mean_absolute(self) -> np.ndarray:
        """Mean absolute weight over the groups too, (K, K): which taps are used."""
        return self.absolute.mean(0)

    @property
    def spread(self) -> np.ndarray:
        """Standard deviation over the groups of their mean weight, (K, K)."""
        return self.signed.std(0)


def measure_taps(model: nn.Module, images: Images, layers: Layers) -> dict[str, Taps]:
    """Averages the kernels that a network generates for images, by layer.

    Args:
        model: In evaluation mode.
        images: All count alike.
        layers: The involutions to look at.

    Raises:
        InputError: A kernel is not finite.
    """
    seen = observe_kernels(model, images.batches(), layers, _totals)
    return {name: _average(torch.stack(totals), len(images)) for name, totals in seen.items()}


def _totals(kernels: Tensor) -> Tensor:
    """Of (N, G, K, K, Ho, Wo), averaged over positions and added up over images: (2, G, K, K)."""
    return torch.stack([part.mean((4, 5)).sum(0) for part in (kernels, kernels.abs())])


def _average(totals: Tensor, count: int) -> Taps:
    signed, absolute = (totals.sum(0) / count).cpu().numpy()
    return Taps(signed, absolute)


def by_stage(taps: Mapping[str, Taps]) -> dict[str, Taps]:
    """The groups of all blocks of a stage together."""
    return {
        stage: Taps(
            np.concatenate([taps[name].signed for name in names]),
            np.concatenate([taps[name].absolute for name in names]),
        )
        for stage, names in ((stage, list(own)) for stage, own in groupby(taps, stage_of))
    }


def rows(taps: Mapping[str, Taps]) -> list[dict[str, Any]]:
    """The averages over groups of every tap of every layer or stage."""
    return [
        {
            "layer": name,
            "row": row,
            "column": column,
            "mean": float(own.mean[row, column]),
            "mean_absolute": float(own.mean_absolute[row, column]),
            "spread_over_groups": float(own.spread[row, column]),
        }
        for name, own in taps.items()
        for row, column in np.ndindex(own.mean.shape)
    ]


def distance_profile(taps: Taps) -> list[dict[str, float]]:
    """Mean absolute weight of the taps at each distance from the centre, and its spread.

    The spread is the standard deviation over the groups.
    """
    size = taps.absolute.shape[-1]
    down, right = np.indices((size, size)) - size // 2
    squared = down**2 + right**2
    profile = []
    for value in np.unique(squared):
        by_group = taps.absolute[:, squared == value].mean(1)
        profile.append(
            {
                "distance": float(value**0.5),
                "mean_absolute": float(by_group.mean()),
                "spread_over_groups": float(by_group.std()),
            }
        )
    return profile


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
