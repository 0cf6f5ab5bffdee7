"""The learning rate over a run, its warm-up magnified."""

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rednet.figures.style import BLUE, COLUMN_WIDTH, paper_style
from rednet.training.schedule import Schedule

POINTS, POINTS_PER_EPOCH = 600, 5
"""At least so many are drawn of the run and of each epoch, or every update."""


def rows(schedule: Schedule) -> list[dict[str, Any]]:
    """Update, time in epochs, and learning rate, of updates all over the run.

    The first and the last update of every epoch are among them, so that steps are steps.
    """
    per_epoch = schedule.steps_per_epoch
    count = min(per_epoch, max(POINTS_PER_EPOCH, math.ceil(POINTS / schedule.epochs)))
    within = np.unique(np.linspace(0, per_epoch - 1, count).round().astype(int))
    updates = [epoch * per_epoch + int(u) for epoch in range(schedule.epochs) for u in within]
    return [
        {"update": update, "epoch": update / per_epoch, "lr": schedule.lr_at(update)}
        for update in updates
    ]


@paper_style
def draw_schedule(schedule: Schedule) -> Figure:
    """The learning rate against epochs, and an inset of the warm-up where there is one."""
    figure = Figure(figsize=(COLUMN_WIDTH, 2.2), layout="constrained")
    axes = figure.subplots()
    points = rows(schedule)
    top = max(point["lr"] for point in points)
    _draw(axes, points)
    axes.set(
        xlabel=f"epoch of {schedule.steps_per_epoch} updates",
        ylabel="learning rate",
        xlim=(0, schedule.epochs),
        ylim=(0, 1.05 * top),
    )
    if 0 < schedule.warmup_epochs < schedule.epochs:
        _draw_warmup(axes, points, schedule, top)
    return figure


def _draw_warmup(axes: Axes, points: list[dict[str, Any]], schedule: Schedule, top: float) -> None:
    inset = axes.inset_axes((0.63, 0.52, 0.35, 0.36))
    end = min(schedule.epochs, 1.4 * schedule.warmup_epochs)
    _draw(inset, [point for point in points if point["epoch"] <= end])
    inset.axvline(schedule.warmup_epochs, color="black", linewidth=0.6, linestyle=":")
    inset.set(xlim=(0, end), ylim=(0, 1.1 * top))
    inset.set_title(f"warm-up, {schedule.warmup_epochs:g} epochs", fontsize=6, pad=2)
    inset.tick_params(labelsize=5)


def _draw(axes: Axes, points: list[dict[str, Any]]) -> None:
    epochs, rates = [point["epoch"] for point in points], [point["lr"] for point in points]
    axes.plot(epochs, rates, color=BLUE, linewidth=1.2)
    axes.grid()
