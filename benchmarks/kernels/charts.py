"""Registers, occupancy and opcodes of the kernels as bar charts, what binds them as a table."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from benchmarks.kernels.bounds import RESOURCES
from benchmarks.kernels.cases import DTYPES

Row = Mapping[str, Any]

NUM_OPCODES = 9
"""Opcodes with a colour of their own; the others share one."""
SHORT = {
    "involution2d": "forward",
    "involution2d_grad_input": "input gradient",
    "involution2d_grad_weight": "weight gradient",
}

COLOURS = dict(zip(RESOURCES, ("#9ecae1", "#fdae6b", "#bcbddc", "#a1d99b", "#fc9272"), strict=True))
"""Of the resources that bind."""
BOUND_DTYPES = ("float32", "bfloat16")
"""Those in the table of what binds; float16 is as bfloat16."""


def draw_binds(rows: Sequence[Row], path: Path) -> None:
    """Draw a table of what binds: an operator of a layer per line, a dtype and GPU per column."""
    rows = [row for row in rows if row["dtype"] in BOUND_DTYPES] or rows
    lines = dict.fromkeys((row["operator"], row["layer"]) for row in rows)
    columns = dict.fromkeys((row["dtype"], row["gpu"]) for row in rows)
    operators, dtypes = list(SHORT), list(DTYPES)
    places = (
        sorted(lines, key=lambda line: operators.index(line[0])),
        sorted(columns, key=lambda column: dtypes.index(column[0])),
    )
    size = 2 + 1.05 * len(columns), 1.6 + 0.3 * len(lines)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    axes.set_title("what binds, and its time over that of device memory", fontsize=10)
    _draw_cells(axes, rows, *places)
    axes.xaxis.tick_top()
    heads = [f"{dtype}\n{gpu}" for dtype, gpu in places[1]]
    axes.set_xticks(range(len(columns)), heads, fontsize=7)
    names = [f"{SHORT[operator]}, {layer}" for operator, layer in places[0]]
    axes.set_yticks(range(len(lines)), names, fontsize=8)
    handles = [Patch(color=colour, label=name) for name, colour in COLOURS.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8)
    figure.savefig(path, dpi=110)


def _draw_cells(
    axes: Axes, rows: Sequence[Row], lines: Sequence[Any], columns: Sequence[Any]
) -> None:
    cells = [[0] * len(columns) for _ in lines]
    for row in rows:
        y = lines.index((row["operator"], row["layer"]))
        x = columns.index((row["dtype"], row["gpu"]))
        binds = row["binds"]
        cells[y][x] = RESOURCES.index(binds)
        ratio = row[f"{binds}_us"] / row["memory_us"]
        text = binds if binds == "memory" else f"{binds} {ratio:.2f}"
        axes.text(x, y, text, ha="center", va="center", fontsize=8)
    colours = ListedColormap(list(COLOURS.values()))
    axes.imshow(cells, colours, vmin=0, vmax=len(COLOURS) - 1, aspect="auto")
    for y in range(1, len(lines)):
        if lines[y][0] != lines[y - 1][0]:
            axes.axhline(y - 0.5, color="black", linewidth=0.8)


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
