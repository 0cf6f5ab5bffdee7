"""What the kernels consist of, and what bounds them, as bar charts."""

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.kernels.cases import DTYPES, OPERATORS
from benchmarks.kernels.survey import ORIGINAL

Row = Mapping[str, Any]

SHORT = {
    "involution2d": "forward",
    "involution2d_grad_input": "input gradient",
    "involution2d_grad_weight": "weight gradient",
}


def draw(kernels: Sequence[Row], rooflines: Sequence[Row], path: Path) -> None:
    """Instructions of the 7x7 kernels above, the roofline of every layer in float32 below."""
    figure = Figure(figsize=(16, 9), layout="constrained")
    grid = figure.add_gridspec(2, 2)
    _draw_instructions(figure.add_subplot(grid[0, :]), kernels)
    below = [figure.add_subplot(grid[1, column]) for column in range(2)]
    for axes, gpu in zip(below, ("A100 SXM 40 GB", "H100 SXM"), strict=True):
        _draw_roofline(axes, [row for row in rooflines if row["gpu"] == gpu], gpu)
    top = max(axes.get_ylim()[1] for axes in below)
    bottom = min(axes.get_ylim()[0] for axes in below)
    for axes in below:
        axes.set_ylim(bottom, top)
    figure.savefig(path, dpi=110)


def _draw_instructions(axes: Axes, kernels: Sequence[Row]) -> None:
    own = [
        row
        for row in kernels
        if "stage2" in row["layers"].split() and row["layout"] == "channels_last"
    ]
    drawn = {(row["operator"], row["dtype"]) for row in own}
    groups = [group for group in product(OPERATORS, DTYPES) if group in drawn]
    found = {
        (row["operator"], row["dtype"], row["arch"]): row["instructions_per_multiply_add"]
        for row in own
    }
    series = {
        f"sm_{arch}": [found.get((*group, arch)) for group in groups]
        for arch in dict.fromkeys(row["arch"] for row in own)
    }
    _bars(axes, [f"{SHORT[name]}\n{dtype}" for name, dtype in groups], series)
    for operator in OPERATORS:
        if (operator, "float32") in groups:
            _draw_original(axes, operator, groups.index((operator, "float32")))
    axes.set_title("instructions a multiply-add: 7x7, 16 channels a group, channels_last (stage 2)")
    axes.set_ylim(0, 9.5)
    axes.legend(fontsize=8, loc="upper left", ncols=len(series) + 1)


def _draw_original(axes: Axes, operator: str, group: int) -> None:
    height = ORIGINAL[operator]["instructions"]
    label = "original, float32, sm_80" if operator == OPERATORS[0] else "_nolegend_"
    ends = group - 0.45, group + 0.45
    axes.hlines(height, *ends, color="black", linestyle="--", linewidth=1, label=label)
    axes.annotate(f"{height:g}", (group, height), ha="center", va="bottom", fontsize=8)


def _draw_roofline(axes: Axes, rows: Sequence[Row], gpu: str) -> None:
    own = [row for row in rows if row["dtype"] == "float32"]
    forward = [row for row in own if row["operator"] == OPERATORS[0]]
    series: dict[str, list[float | None]] = {
        "memory": [row["memory_us"] for row in forward],
        "arithmetic": [row["arithmetic_us"] for row in forward],
    }
    for operator in OPERATORS:
        times = [row["issue_estimate_us"] for row in own if row["operator"] == operator]
        series[f"instructions (estimate), {SHORT[operator]}"] = times
    _bars(axes, [row["layer"] for row in forward], series)
    axes.set_yscale("log")
    axes.set_title(f"least microseconds an image on {gpu}, float32")
    axes.legend(fontsize=8, loc="upper right")


def _bars(axes: Axes, groups: Sequence[str], series: Mapping[str, Sequence[float | None]]) -> None:
    """Bars side by side for every group, with their height in figures."""
    width = 0.84 / max(1, len(series))
    for index, (label, heights) in enumerate(series.items()):
        shift = (index - (len(series) - 1) / 2) * width
        places = [group + shift for group in range(len(groups))]
        drawn = axes.bar(places, [height or 0 for height in heights], width, label=label)
        labels = [f"{height:.2g}" if height else "" for height in heights]
        axes.bar_label(drawn, labels, fontsize=6, padding=1, rotation=90)
    axes.set_xticks(range(len(groups)), groups, fontsize=8)
    axes.margins(x=0.01, y=0.25)
    axes.grid(axis="y", alpha=0.3)
