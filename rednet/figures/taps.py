"""Mean generated weights of the taps, by layer and by stage, and their figures.

A tap is one of the K x K positions of a kernel.
"""

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

from rednet.figures.generated_kernels import InvolutionLayers, observe_kernels, stage_of
from rednet.figures.input_images import InputImages
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
class TapWeights:
    """Weights of the taps, averaged over images and positions.

    Attributes:
        signed: Mean weights by group, (G, K, K).
        absolute: Mean absolute weights by group, (G, K, K).
    """

    signed: np.ndarray
    absolute: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """Mean weights over all groups, (K, K)."""
        return self.signed.mean(0)

    @property
    def mean_absolute(self) -> np.ndarray:
        """Mean absolute weights over all groups, (K, K): which taps are used."""
        return self.absolute.mean(0)

    @property
    def spread(self) -> np.ndarray:
        """Standard deviation of the groups' mean weights, (K, K)."""
        return self.signed.std(0)


def measure_taps(
    model: nn.Module, images: InputImages, layers: InvolutionLayers
) -> dict[str, TapWeights]:
    """Average the kernels that a network generates for images, by layer.

    Args:
        model: The network, in evaluation mode.
        images: The images, equally weighted.
        layers: The involutions.

    Raises:
        InputError: A kernel is not finite.
    """
    sums = observe_kernels(model, images.batches(), layers, _sum_over_images)
    return {name: _average(torch.stack(batches), len(images)) for name, batches in sums.items()}


def _sum_over_images(kernels: Tensor) -> Tensor:
    """Average kernels (N, G, K, K, Ho, Wo) over positions and sum over images: (2, G, K, K)."""
    return torch.stack([weights.mean((4, 5)).sum(0) for weights in (kernels, kernels.abs())])


def _average(sums: Tensor, count: int) -> TapWeights:
    signed, absolute = (sums.sum(0) / count).cpu().numpy()
    return TapWeights(signed, absolute)


def by_stage(taps: Mapping[str, TapWeights]) -> dict[str, TapWeights]:
    """Combine the groups of all blocks of each stage."""
    stages = {stage: list(names) for stage, names in groupby(taps, stage_of)}
    return {
        stage: TapWeights(
            np.concatenate([taps[name].signed for name in names]),
            np.concatenate([taps[name].absolute for name in names]),
        )
        for stage, names in stages.items()
    }


def tap_rows(taps: Mapping[str, TapWeights]) -> list[dict[str, Any]]:
    """Return the averages over groups of each tap of each layer or stage, as records."""
    return [
        {
            "layer": name,
            "row": row,
            "column": column,
            "mean": float(weights.mean[row, column]),
            "mean_absolute": float(weights.mean_absolute[row, column]),
            "spread_over_groups": float(weights.spread[row, column]),
        }
        for name, weights in taps.items()
        for row, column in np.ndindex(weights.mean.shape)
    ]


def distance_profile(taps: TapWeights) -> list[dict[str, float]]:
    """Return the mean absolute weight at each distance from the centre, as records.

    The spread is the standard deviation over groups.
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
BLOCKS_NOTE = "below each map: its largest absolute value, the end of its colour scale"
MAX_COLUMNS = 12
COLOURS = (GRAY, BLUE, GREEN, PURPLE, VERMILION)


@paper_style
def draw_stages(stages: Mapping[str, TapWeights]) -> Figure:
    """Draw mean weight, mean absolute weight and spread over groups in rows, stages in columns."""
    columns = max(3, len(stages))
    side = PAGE_WIDTH / columns
    figure = Figure(figsize=(PAGE_WIDTH, (side - 0.2) * len(QUANTITIES)), layout="constrained")
    grid = figure.add_gridspec(len(QUANTITIES), columns)
    for row, (quantity, title) in enumerate(QUANTITIES.items()):
        for column, (stage, taps) in enumerate(stages.items()):
            axes = figure.add_subplot(grid[row, column])
            image = _draw_map(axes, getattr(taps, quantity), quantity)
            bar = figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03)
            bar.ax.tick_params(labelsize=5, length=2, pad=1)
            bar.locator = MaxNLocator(3)
            axes.set_title("" if row else stage)
            axes.set_ylabel("" if column else title)
    return figure


@paper_style
def draw_blocks(taps: Mapping[str, TapWeights], quantity: str) -> Figure:
    """Draw one of `QUANTITIES` for each layer.

    Each map has a separate colour scale; its largest absolute value is written below the map.
    """
    columns = min(MAX_COLUMNS, max(6, len(taps)))
    rows = ceil(len(taps) / columns)
    size = PAGE_WIDTH, (PAGE_WIDTH / columns + 0.24) * rows + 0.15
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.add_gridspec(rows, columns)
    for index, (name, weights) in enumerate(taps.items()):
        axes = figure.add_subplot(grid[divmod(index, columns)])
        values = getattr(weights, quantity)
        _draw_map(axes, values, quantity)
        axes.set_title(name, fontsize=NOTE_SIZE, pad=2)
        axes.set_xlabel(f"{np.abs(values).max():.2g}", fontsize=NOTE_SIZE, labelpad=2)
    add_note(figure, BLOCKS_NOTE)
    return figure


@paper_style
def draw_distances(stages: Mapping[str, TapWeights]) -> Figure:
    """Draw the mean absolute weight against the distance from the centre, by stage.

    Bands show the standard deviation over groups. Each stage is divided by its mean over all taps,
    so 1 means that all taps are used equally.
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


def _draw_profile(axes: Axes, taps: TapWeights, stage: str, colour: str) -> None:
    profile = distance_profile(taps)
    distance, mean, spread = (
        np.array([point[key] for point in profile])
        for key in ("distance", "mean_absolute", "spread_over_groups")
    )
    overall = taps.absolute.mean() or 1.0
    axes.plot(distance, mean / overall, color=colour, marker="o", markersize=2.5, label=stage)
    edges = (mean - spread) / overall, (mean + spread) / overall
    axes.fill_between(distance, *edges, color=colour, alpha=0.1, linewidth=0)


def _draw_map(axes: Axes, values: np.ndarray, quantity: str) -> AxesImage:
    """Draw a (K, K) map, with colours symmetric about 0 for signed values, else from 0."""
    limit = float(np.abs(values).max()) or 1.0
    axes.set(xticks=[], yticks=[])
    if quantity == "mean":
        return axes.imshow(values, cmap=DIVERGING, vmin=-limit, vmax=limit)
    return axes.imshow(values, cmap=SEQUENTIAL, vmin=0, vmax=limit)
