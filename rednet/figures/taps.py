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
    DIVERGING,
    GRAY,
    LIGHT_GRAY,
    NOTE_SIZE,
    PAGE_WIDTH,
    SEQUENTIAL,
    add_note,
    format_number,
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
    def spread(self) -> np.ndarray | None:
        """Standard deviation of the groups' mean weights, (K, K), or None for one group."""
        return self.signed.std(0) if len(self.signed) > 1 else None


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
            "spread_over_groups": _at(weights.spread, row, column),
        }
        for name, weights in taps.items()
        for row, column in np.ndindex(weights.mean.shape)
    ]


def _at(values: np.ndarray | None, row: int, column: int) -> float | None:
    return None if values is None else float(values[row, column])


def distance_profile(taps: TapWeights) -> list[dict[str, Any]]:
    """Return the mean absolute weight at each distance from the centre, as records.

    The spread is the standard deviation over groups, None for one group.
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
                "spread_over_groups": float(by_group.std()) if len(by_group) > 1 else None,
            }
        )
    return profile


QUANTITIES = {
    "mean": "mean weight",
    "mean_absolute": "mean absolute weight",
    "spread": "std over groups\nof the mean weight",
}
BLOCKS_NOTE = "below each map: its largest absolute value, the end of its colour scale"
MAX_COLUMNS = 12
MAX_PANELS = 5
"""Maximum number of stages side by side in the figure of distances."""


@paper_style
def draw_stages(stages: Mapping[str, TapWeights]) -> Figure:
    """Draw mean weight, mean absolute weight and spread over groups in rows, stages in columns.

    A stage with one group has no spread.
    """
    rows = [name for name in QUANTITIES if any(_has(taps, name) for taps in stages.values())]
    columns = max(3, len(stages))
    side = PAGE_WIDTH / columns
    figure = Figure(figsize=(PAGE_WIDTH, (side - 0.2) * len(rows)), layout="constrained")
    grid = figure.add_gridspec(len(rows), columns)
    for row, quantity in enumerate(rows):
        for column, (stage, taps) in enumerate(stages.items()):
            axes = figure.add_subplot(grid[row, column])
            axes.set_title("" if row else stage)
            axes.set_ylabel("" if column else QUANTITIES[quantity])
            if _has(taps, quantity):
                _add_scale(_draw_map(axes, getattr(taps, quantity), quantity))
            else:
                _leave_empty(axes, "one group")
    return figure


def _has(taps: TapWeights, quantity: str) -> bool:
    return getattr(taps, quantity) is not None


def _add_scale(image: AxesImage) -> None:
    bar = image.axes.figure.colorbar(image, ax=image.axes, fraction=0.046, pad=0.03)
    bar.ax.tick_params(labelsize=5, length=2, pad=1)
    bar.locator = MaxNLocator(3)


def _leave_empty(axes: Axes, reason: str) -> None:
    axes.set(xticks=[], yticks=[], aspect="equal")
    axes.spines[:].set_visible(False)
    axes.text(0.5, 0.5, reason, ha="center", va="center", fontsize=NOTE_SIZE, color=GRAY)


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
        axes.set_xlabel(format_number(np.abs(values).max()), fontsize=NOTE_SIZE, labelpad=2)
    add_note(figure, BLOCKS_NOTE)
    return figure


@paper_style
def draw_distances(stages: Mapping[str, TapWeights]) -> Figure:
    """Draw the mean absolute weight against the distance from the centre, a panel per stage.

    Bands show the standard deviation over groups; gray lines repeat the other stages. Each stage is
    divided by its mean over all taps, so 1 means that all taps are used equally.
    """
    columns = min(MAX_PANELS, max(3, len(stages)))
    rows = ceil(len(stages) / columns)
    figure = Figure(figsize=(PAGE_WIDTH, 1.5 * rows + 0.25), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, stage in zip(panels, stages, strict=False):
        _draw_profiles(axes, stages, stage)
    for axes in panels[len(stages) :]:
        axes.remove()
    panels[0].set_ylim(bottom=0)
    panels[0].xaxis.set_major_locator(MaxNLocator(5, integer=True))
    figure.supxlabel("distance of a tap from the centre, taps", fontsize=7)
    for axes in panels[::columns]:
        axes.set_ylabel("mean absolute weight\n(1 = mean over taps)")
    return figure


def _draw_profiles(axes: Axes, stages: Mapping[str, TapWeights], stage: str) -> None:
    """Draw the profile of a stage, and those of the others in gray."""
    for other in stages:
        if other != stage:
            distance, mean, _ = _relative_profile(stages[other])
            axes.plot(distance, mean, color=LIGHT_GRAY, linewidth=0.6)
    distance, mean, spread = _relative_profile(stages[stage])
    axes.fill_between(distance, mean - spread, mean + spread, color=BLUE, alpha=0.2, linewidth=0)
    axes.plot(distance, mean, color=BLUE, marker="o", markersize=2.5)
    axes.axhline(1, color="black", linewidth=0.6, linestyle=":")
    axes.set_title(stage)
    axes.grid()


def _relative_profile(taps: TapWeights) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return distances, and mean and spread relative to the mean over all taps.

    The spread of one group is NaN.
    """
    profile = distance_profile(taps)
    distance, mean, spread = (
        np.array([point[key] for point in profile], float)
        for key in ("distance", "mean_absolute", "spread_over_groups")
    )
    overall = taps.absolute.mean() or 1.0
    return distance, mean / overall, spread / overall


def _draw_map(axes: Axes, values: np.ndarray, quantity: str) -> AxesImage:
    """Draw a (K, K) map, with colours symmetric about 0 for signed values, else from 0."""
    limit = float(np.abs(values).max()) or 1.0
    axes.set(xticks=[], yticks=[])
    if quantity == "mean":
        return axes.imshow(values, cmap=DIVERGING, vmin=-limit, vmax=limit)
    return axes.imshow(values, cmap=SEQUENTIAL, vmin=0, vmax=limit)
