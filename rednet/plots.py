"""Plots of training curves and confusions, which need no display."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from rednet.wording import printable

MAX_CLASSES_WITH_COUNTS = 20
MAX_CLASSES_IN_MATRIX = 60
"""Number of classes up to which a matrix with the classes' names is legible."""

MAX_CONFUSIONS = 30
MAX_NAME_LENGTH = 30


def draw_curves(metrics: Sequence[dict[str, Any]], path: Path, title: str) -> None:
    """Plot the losses, the top-1 accuracy and the learning rate of a run over its epochs.

    Args:
        metrics: Lines of metrics.jsonl.
        path: PNG file to write.
        title: Title of the plot, which names the run.
    """
    figure = Figure(figsize=(12, 3.9))
    # Fixed margins: a computed layout takes as long as the drawing, at the end of every run.
    figure.subplots_adjust(left=0.055, right=0.985, top=0.83, bottom=0.13, wspace=0.22)
    title = printable(title)
    figure.suptitle(title, parse_math=False)
    losses, accuracy, rate = figure.subplots(1, 3)
    _plot_curve(losses, metrics, "train_loss", "training")
    _plot_curve(losses, metrics, "val_loss", "validation")
    losses.set_title("loss")
    losses.legend()
    _plot_curve(accuracy, metrics, "val_top1", "top-1")
    accuracy.set_title("validation top-1, %")
    _plot_curve(rate, metrics, "lr", "learning rate")
    rate.set_title("learning rate")
    last_epoch = max((line["epoch"] for line in metrics), default=1)
    for axes in (losses, accuracy, rate):
        axes.set(xlabel="epoch", xlim=(0.5, last_epoch + 0.5))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(alpha=0.3)
    _save(figure, path, dpi=120, metadata={"Title": title})


def _plot_curve(axes: Axes, metrics: Sequence[dict[str, Any]], name: str, label: str) -> None:
    points = [(line["epoch"], line[name]) for line in metrics if line[name] is not None]
    axes.plot(
        [epoch for epoch, _ in points],
        [value for _, value in points],
        marker="o",
        markersize=3,
        label=label,
    )


def draw_confusion(confusion: Tensor, class_names: Sequence[str], path: Path, title: str) -> None:
    """Plot a confusion matrix on a logarithmic colour scale.

    Args:
        confusion: Sample counts (classes, classes): rows are true classes, columns predictions.
        class_names: Names of the classes, by class index.
        path: PNG file to write.
        title: Title of the plot.
    """
    counts = confusion.numpy()
    size = float(np.clip(2.5 + 0.55 * len(class_names), 6, 14))
    figure = Figure(figsize=(size, size), layout="constrained")
    axes = figure.subplots()
    visible = np.where(counts > 0, counts, np.nan)
    highest = max(10, counts.max())
    image = axes.imshow(visible, cmap="viridis", norm=LogNorm(1, highest), interpolation="nearest")
    figure.colorbar(image, ax=axes, label="images", format="%g", fraction=0.04, pad=0.02)
    axes.set(xlabel="predicted", ylabel="true", title=title)
    ticks, names = range(len(class_names)), [_shorten(name) for name in class_names]
    axes.set_xticks(ticks, names, rotation=60, ha="right", parse_math=False)
    axes.set_yticks(ticks, names, parse_math=False)
    if len(class_names) <= MAX_CLASSES_WITH_COUNTS:
        _write_counts(axes, counts, highest)
    _save(figure, path, dpi=110, bbox_inches="tight")


def _write_counts(axes: Axes, counts: np.ndarray, highest: float) -> None:
    for (row, column), count in np.ndenumerate(counts):
        if count:
            dark = np.log(count) < 0.6 * np.log(highest)
            color = "white" if dark else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=color, fontsize=8)


def draw_top_confusions(rows: Sequence[Mapping[str, Any]], path: Path, title: str) -> None:
    """Plot the most frequent confusions as bars, where a matrix would have too many classes.

    Args:
        rows: Rows of `Evaluation.confusions`, most frequent first.
        path: PNG file to write.
        title: Title of the plot.
    """
    top = rows[:MAX_CONFUSIONS]
    figure = Figure(figsize=(10, 1.6 + 0.24 * max(5, len(top))), layout="constrained")
    figure.suptitle(f"{title}\n{_describe_top(rows)}", fontsize=10, parse_math=False)
    axes = figure.subplots()
    axes.set(xlabel="images", ylim=(max(5, len(top)) - 0.5, -0.5))
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    bars = axes.barh(range(len(top)), [row["count"] for row in top], color="#0072B2")
    axes.bar_label(bars, [f"{row['count']} ({row['share']:.0f} %)" for row in top], padding=3)
    names = [f"{_shorten(row['true'])} as {_shorten(row['predicted'])}" for row in top]
    axes.set_yticks(range(len(top)), names, parse_math=False)
    axes.set_ylabel("true class as predicted class")
    axes.margins(x=0.18)
    _save(figure, path, dpi=110)


def _describe_top(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return "no image was mistaken"
    mistakes, shown = (sum(row["count"] for row in part) for part in (rows, rows[:MAX_CONFUSIONS]))
    return (
        f"the {min(len(rows), MAX_CONFUSIONS)} most frequent of {len(rows)} confusions, {shown} of "
        f"{mistakes} mistakes; in brackets the share of the true class's images"
    )


def _shorten(name: str) -> str:
    name = printable(name)
    return name if len(name) <= MAX_NAME_LENGTH else f"{name[: MAX_NAME_LENGTH - 3]}..."


def _save(figure: Figure, path: Path, **options: Any) -> None:
    # Matplotlib warns about characters that the font lacks.
    with warnings.catch_warnings(action="ignore"):
        # Once; a figure with a layout engine is laid out and drawn twice when it is saved.
        if engine := figure.get_layout_engine():
            engine.execute(figure)
            figure.set_layout_engine("none")
        figure.savefig(path, **options)
