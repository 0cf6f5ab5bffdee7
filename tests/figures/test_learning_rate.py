"""The figure of the learning rate and its numbers."""

import math

import pytest

from rednet.figures.learning_rate import draw_schedule, schedule_rows
from rednet.training.schedule import Schedule

PAPER = Schedule("cosine", 0.8, 130, 626, 5, 0.25)
SCHEDULES = {
    "paper": PAPER,
    "no warm-up": Schedule("cosine", 0.1, 30, 7, step_on="step"),
    "one step": Schedule("constant", 0.1, 1, 1),
    "one epoch of warm-up": Schedule("constant", 0.1, 1, 40, 1),
    "step": Schedule("step", 0.1, 90, 100, 2.5, 0.1, milestones=(30, 60, 80)),
}


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_rows_follow_the_schedule(schedule):
    table = schedule_rows(schedule)
    assert all(row["lr"] == schedule.lr_at(row["step"]) for row in table)
    steps = [row["step"] for row in table]
    assert steps == sorted(set(steps))
    per_epoch = schedule.steps_per_epoch
    for epoch in range(schedule.epochs):
        assert {epoch * per_epoch, (epoch + 1) * per_epoch - 1} <= set(steps)
    assert len(table) <= 1000


@pytest.mark.parametrize(
    ("name", "insets"), [("paper", 1), ("no warm-up", 0), ("one step", 0), ("step", 1)]
)
def test_the_warm_up_has_an_inset(name, insets):
    figure = draw_schedule(SCHEDULES[name])
    figure.draw_without_rendering()
    (axes,) = figure.axes
    assert len(axes.child_axes) == insets


def test_the_schedule_of_the_paper():
    table = schedule_rows(PAPER)
    assert table[0]["lr"] == pytest.approx(0.2)
    by_step = {row["step"]: row["lr"] for row in table}
    for epoch in (5, 60, 129):
        by_hand = 0.4 * (1 + math.cos(math.pi * epoch / 130))
        assert by_step[epoch * 626] == pytest.approx(by_hand, abs=1e-12)
