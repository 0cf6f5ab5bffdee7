"""The figure of the learning rate over a run, with the warm-up enlarged."""

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rednet.figures.style import BLUE, COLUMN_WIDTH, paper_style
from rednet.training.schedule import Schedule
from rednet.wording import count

POINTS, POINTS_PER_EPOCH = 600, 5
"""Minimum number of points in the run and in each epoch, unless there are fewer steps."""


def schedule_rows(schedule: Schedule) -> list[dict[str, Any]]:
    """Return step, epoch and learning rate at steps throughout the run as records.

    They include the first and last step of each epoch, so that a staircase keeps its shape.
    """
    per_epoch = schedule.steps_per_epoch
    points = min(per_epoch, max(POINTS_PER_EPOCH, math.ceil(POINTS / schedule.epochs)))
    within = np.unique(np.linspace(0, per_epoch - 1, points).round().astype(int))
    steps = [epoch * per_epoch + int(step) for epoch in range(schedule.epochs) for step in within]
    return [{"step": step, "epoch": step / per_epoch, "lr": schedule.lr_at(step)} for step in steps]


@paper_style
def draw_schedule(schedule: Schedule) -> Figure:
    """Draw the learning rate against the epoch, with an inset of the warm-up if there is one."""
    figure = Figure(figsize=(COLUMN_WIDTH, 2.2), layout="constrained")
    axes = figure.subplots()
    points = schedule_rows(schedule)
    top = max(point["lr"] for point in points)
    _draw(axes, points)
    axes.set(
        xlabel=f"epoch ({count(schedule.steps_per_epoch, 'step')} each)",
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
    inset.set_title(f"warm-up, {count(float(schedule.warmup_epochs), 'epoch')}", fontsize=6, pad=2)
    inset.tick_params(labelsize=5)


def _draw(axes: Axes, points: list[dict[str, Any]]) -> None:
    epochs, rates = [point["epoch"] for point in points], [point["lr"] for point in points]
    axes.plot(epochs, rates, color=BLUE, linewidth=1.2)
    axes.grid()
