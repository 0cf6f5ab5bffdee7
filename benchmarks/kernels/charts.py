"""Registers, occupancy and opcodes of the kernels as bar charts."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.kernels.cases import DTYPES

Row = Mapping[str, Any]

NUM_OPCODES = 9
"""Opcodes with a colour of their own; the others share one."""
SHORT = {
    "involution2d": "forward",
    "involution2d_grad_input": "input gradient",
    "involution2d_grad_weight": "weight gradient",
}


def draw_kernels(rows: Sequence[Row], layer: str, path: Path) -> None:
    """Draw occupancy on every architecture, and the opcodes on the first, of a layer's kernels."""
    rows = [row for row in rows if layer in row["layers"].split()]
    rows = [row for row in rows if row["layout"] == "channels_last"]
    rows.sort(
        key=lambda row: (list(SHORT).index(row["operator"]), list(DTYPES).index(row["dtype"]))
    )
    by_arch: dict[int, list[Row]] = {}
    for row in rows:
        by_arch.setdefault(row["arch"], []).append(row)
    first = 80 if 80 in by_arch else next(iter(by_arch))
    figure = Figure(figsize=(16, 9), layout="constrained")
    above, below = figure.subplots(2, 1)
    _draw_occupancy(above, by_arch)
    above.set_title(f"occupancy in %, labelled with registers per thread: {layer}, channels_last")
    _draw_opcodes(below, [_parse(row["opcodes"]) for row in by_arch[first]])
    below.set_title(f"instructions, each counted once: {layer}, channels_last, sm_{first}")
    for axes in (above, below):
        names = [f"{SHORT[row['operator']]}\n{row['dtype']}" for row in by_arch[first]]
        axes.set_xticks(range(len(names)), names, fontsize=8)
        axes.margins(x=0.01, y=0.2)
        axes.legend(fontsize=8, loc="upper left", ncols=NUM_OPCODES + 1)
    figure.savefig(path, dpi=110)


def _draw_occupancy(axes: Axes, by_arch: Mapping[int, Sequence[Row]]) -> None:
    width = 0.84 / len(by_arch)
    for index, (arch, rows) in enumerate(by_arch.items()):
        shift = (index - (len(by_arch) - 1) / 2) * width
        places = [group + shift for group in range(len(rows))]
        heights = [100 * row["occupancy"] for row in rows]
        bars = axes.bar(places, heights, width, label=f"sm_{arch}")
        labels = [str(row["registers"]) for row in rows]
        axes.bar_label(bars, labels, fontsize=6, padding=1, rotation=90)


def _draw_opcodes(axes: Axes, counts: Sequence[Counter[str]]) -> None:
    """Stack the opcodes that are frequent in all kernels together."""
    frequent = [name for name, _ in sum(counts, Counter()).most_common(NUM_OPCODES)]
    series = {name: [own[name] for own in counts] for name in frequent}
    series["others"] = [own.total() - sum(own[name] for name in frequent) for own in counts]
    bottom, legible = [0] * len(counts), 0.03 * max(own.total() for own in counts)
    for name, heights in series.items():
        bars = axes.bar(range(len(counts)), heights, 0.7, bottom, label=name)
        labels = [str(height) if height > legible else "" for height in heights]
        axes.bar_label(bars, labels, label_type="center", fontsize=6)
        bottom = [low + height for low, height in zip(bottom, heights, strict=True)]


def _parse(opcodes: str) -> Counter[str]:
    pairs = (pair.split(":") for pair in opcodes.split())
    return Counter({name: int(count) for name, count in pairs})
