"""Draw results as bar charts with their spread."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

Row = Mapping[str, Any]
Bar = tuple[float, float, float]
"""Height, lower and upper end of the spread."""

BASELINE = "unfold"
GROWS_WITH = {
    "batch": "of images",
    "size": "of pixels",
    "kernel_size": "of taps",
    "group_channels": "of channels",
    "threads": "of threads",
}
RATIO_LABELS = {
    "rednet_over_resnet": "RedNet / ResNet",
    "rednet_over_bound": "RedNet / free involution",
    "bound_over_resnet": "free involution / ResNet",
}


def draw_operator(rows: Sequence[Row], path: Path) -> None:
    """Draw speed-up over unfold and share of the binding ceiling, by layer."""
    kinds = list(dict.fromkeys((row["precision"], row["batch"], row["pass"]) for row in rows))
    figure = Figure(figsize=(15, 3.4 * len(kinds)), layout="constrained")
    panels = figure.subplots(len(kinds), 2, squeeze=False)
    for (precision, batch, kind), (speed, share) in zip(kinds, panels, strict=True):
        own = [
            row
            for row in rows
            if (row["precision"], row["batch"], row["pass"]) == (precision, batch, kind)
        ]
        title = f"{kind}, {precision}, batch {batch}"
        _draw_speedups(speed, own, title)
        _draw_shares(share, own, title)
    figure.savefig(path, dpi=110)


def _draw_speedups(axes: Axes, rows: Sequence[Row], title: str) -> None:
    _bars(
        axes,
        [row["layer"] for row in rows],
        {
            name: [_bar(row["contenders"][name]["speedup"]) for row in rows]
            for name in rows[0]["contenders"]
            if name != BASELINE
        },
    )
    axes.set_yscale("log")
    for formatted in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        formatted(LogFormatter(minor_thresholds=(1.5, 0.5)))
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set_title(f"times as fast as unfold: {title}")


def _draw_shares(axes: Axes, rows: Sequence[Row], title: str) -> None:
    labels = [f"{row['layer']}\n({row['ceilings']['binds']})" for row in rows]
    _bars(
        axes,
        labels,
        {
            name: [_bar(row["contenders"][name]["share"], 100) for row in rows]
            for name in rows[0]["contenders"]
        },
    )
    axes.set_title(f"% of the ceiling that binds: {title}")


def draw_network(rows: Sequence[Row], path: Path) -> None:
    """Draw ratios of speed and of memory, by setting."""
    weighed = [row for row in rows if row["memory_over_resnet"] is not None]
    panels = 2 if weighed else 1
    figure = Figure(figsize=(max(8, 2 + 1.6 * len(rows)), 4 * panels), layout="constrained")
    speed, *memory = figure.subplots(panels, 1, squeeze=False)[:, 0]
    ratios = RATIO_LABELS.items()
    _bars(
        speed,
        [_setting(row) for row in rows],
        {label: [_bar(row["ratios"][name]) for row in rows] for name, label in ratios},
    )
    speed.set_title("images per second: the first over the second")
    for axes in memory:
        bars = [(row["memory_over_resnet"],) * 3 for row in weighed]
        _bars(axes, [_setting(row) for row in weighed], {"peak memory": bars})
        axes.set_title("peak memory of a training step: RedNet over ResNet")
    for axes in (speed, *memory):
        axes.axhline(1, color="black", linewidth=0.8)
    figure.savefig(path, dpi=110)


def _setting(row: Row) -> str:
    return (
        f"{row['depth']} {row['mode']}\n{row['precision']} {row['execution']}\nbatch {row['batch']}"
    )


def draw_ceilings(rows: Sequence[Row], path: Path) -> None:
    """Draw multiply-adds and copied bytes per second."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    for axes, unit in zip(figure.subplots(1, 2), ("GFLOP/s", "GB/s"), strict=True):
        own = [row for row in rows if row["unit"] == unit]
        labels = [row["ceiling"].replace(" MiB", "\nMiB").removeprefix("copy ") for row in own]
        _bars(axes, labels, {own[0]["method"]: [_bar(row) for row in own]})
        axes.set_title(unit)
    figure.savefig(path, dpi=110)


def draw_growth(rows: Sequence[Row], path: Path) -> None:
    """Draw the operator's time over each quantity, on axes where a power law is a line."""
    quantities = list(dict.fromkeys(row["quantity"] for row in rows))
    figure = Figure(figsize=(3.6 * len(quantities), 3.8), layout="constrained")
    panels = figure.subplots(1, len(quantities), squeeze=False)[0]
    for quantity, axes in zip(quantities, panels, strict=True):
        own = [row for row in rows if row["quantity"] == quantity]
        for precision, kind in dict.fromkeys((row["precision"], row["pass"]) for row in own):
            line = [row for row in own if (row["precision"], row["pass"]) == (precision, kind)]
            values = [row["value"] for row in line]
            label = f"{kind}, {precision}"
            if (exponent := line[0]["exponent"]) is not None:
                label += f"\nexponent {exponent:.2f} {GROWS_WITH[quantity]}"
            times = [row["ms"]["median"] for row in line]
            axes.plot(values, times, marker="o", label=label)
            ends = [[row["ms"][end] for row in line] for end in ("lower", "upper")]
            axes.fill_between(values, *ends, alpha=0.2)
        axes.set(xscale="log", yscale="log", xlabel=quantity.replace("_", " "), ylabel="ms")
        axes.set_xticks(values, [str(value) for value in values])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    figure.savefig(path, dpi=110)


def draw_pointwise(rows: Sequence[Row], path: Path) -> None:
    """Draw how many times as long as the convolution the matrix product takes, by shape."""
    settings = list(dict.fromkeys((row["depth"], row["batch"]) for row in rows))
    figure = Figure(figsize=(15, 3.4 * len(settings)), layout="constrained")
    panels = figure.subplots(len(settings), 1, squeeze=False)[:, 0]
    for setting, axes in zip(settings, panels, strict=True):
        own = [row for row in rows if (row["depth"], row["batch"]) == setting]
        shapes = [
            f"{row['in_channels']} to\n{row['out_channels']}\n{row['size']} px" for row in own
        ]
        directions: dict[str, list[Bar]] = {}
        for row in own:
            directions.setdefault(row["direction"].replace("_", " "), []).append(_bar(row["ratio"]))
        _bars(axes, shapes[:: len(directions)], directions)
        axes.axhline(1, color="black", linewidth=0.8)
        axes.set_title(
            f"time of the matrix product over that of the convolution: RedNet-{setting[0]}, "
            f"batch {setting[1]}"
        )
    figure.savefig(path, dpi=110)


def draw_saving(rows: Sequence[Row], path: Path) -> None:
    """Draw the seconds of the copy and of the write, by depth."""
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    depths = list(dict.fromkeys(f"RedNet-{row['depth']}" for row in rows))
    parts = ("copy", "write")
    _bars(axes, depths, {what: [_bar(r) for r in rows if r["what"] == what] for what in parts})
    axes.set_title("seconds to save; training waits for the copy only")
    figure.savefig(path, dpi=110)


def draw_input(rows: Sequence[Row], path: Path) -> None:
    """Draw how many times as many images per second each contender gives as the first one."""
    compared = {row["stage"] for row in rows if row["contender"] != row["baseline"]}
    stages = [stage for stage in dict.fromkeys(row["stage"] for row in rows) if stage in compared]
    figure = Figure(figsize=(9, 3.2 * max(1, len(stages))), layout="constrained")
    panels = figure.subplots(max(1, len(stages)), 1, squeeze=False)[:, 0]
    for stage, axes in zip(stages, panels, strict=False):
        own = [row for row in rows if row["stage"] == stage]
        bars: dict[str, list[Bar]] = {}
        for row in own:
            bars.setdefault(row["contender"], []).append(_bar(row["over_baseline"]))
        _bars(axes, list(dict.fromkeys(row["source"] for row in own)), bars)
        axes.axhline(1, color="black", linewidth=0.8)
        axes.set_title(f"{stage}: images per second over {own[0]['baseline']}")
    figure.savefig(path, dpi=110)


def draw_export(rows: Sequence[Row], path: Path) -> None:
    """Draw the time of an image in each form over PyTorch's, by batch."""
    _draw_ratios(
        rows, "over_eager", "time of an image over that of the same network in PyTorch", path
    )


def draw_optimized(rows: Sequence[Row], path: Path) -> None:
    """Draw the speed of each form over the fastest ResNet's, by precision and batch."""
    named = [{**row, "batch": f"{row['batch']}, {row['precision']}"} for row in rows]
    _draw_ratios(named, "over_best_resnet", "speed over the fastest ResNet of equal depth", path)


def draw_onnx_forms(rows: Sequence[Row], path: Path) -> None:
    """Draw the time of each form of the operator over the native one's, by batch."""
    named = [{**row, "form": f"{row['form']}\n{row['runtime']}"} for row in rows]
    _draw_ratios(named, "over_native", "time of an involution over the native operator's", path)


def _draw_ratios(rows: Sequence[Row], ratio: str, title: str, path: Path) -> None:
    """Draw horizontal bars, as the forms have long names; a panel for each depth and batch."""
    panels: dict[str, dict[str, Mapping[str, float]]] = {}
    for row in rows:
        depth = f"RedNet-{row['depth']}, " if "depth" in row else ""
        panels.setdefault(f"{depth}batch {row['batch']}", {})[row["form"]] = row[ratio]
    longest = max(map(len, panels.values()))
    figure = Figure(figsize=(3 + 4 * len(panels), 1.2 + 0.4 * longest), layout="constrained")
    all_axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axes, (name, ratios) in zip(all_axes, panels.items(), strict=True):
        bars = [_bar(each) for each in ratios.values()]
        heights = [bar[0] for bar in bars]
        spread = [[bar[0] - bar[1] for bar in bars], [bar[2] - bar[0] for bar in bars]]
        drawn = axes.barh(list(ratios), heights, xerr=spread, capsize=2)
        axes.bar_label(drawn, [f"{height:.3g}" for height in heights], fontsize=8, padding=3)
        axes.axvline(1, color="black", linewidth=0.8)
        axes.margins(x=0.15)
        axes.grid(axis="x", alpha=0.3)
        axes.set_title(name, fontsize=9)
    all_axes[0].invert_yaxis()
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=110)


def _bar(ratio: Mapping[str, float], scale: float = 1) -> Bar:
    return scale * ratio["median"], scale * ratio["lower"], scale * ratio["upper"]


def _bars(axes: Axes, groups: Sequence[str], series: Mapping[str, Sequence[Bar]]) -> None:
    """Draw a bar per series in every group, with its spread, labelled with its height."""
    width = 0.8 / max(1, len(series))
    for index, (label, bars) in enumerate(series.items()):
        places = [group + (index - (len(series) - 1) / 2) * width for group in range(len(groups))]
        heights = [bar[0] for bar in bars]
        spread = [[bar[0] - bar[1] for bar in bars], [bar[2] - bar[0] for bar in bars]]
        drawn = axes.bar(places, heights, width, label=label, yerr=spread, capsize=2)
        labels = [f"{height:.3g}" if height else "" for height in heights]
        axes.bar_label(drawn, labels, fontsize=7, padding=2)
    axes.set_xticks(range(len(groups)), groups, fontsize=8)
    axes.margins(y=0.25)
    axes.grid(axis="y", alpha=0.3)
    axes.legend(fontsize=8, loc="upper left", ncols=len(series))
