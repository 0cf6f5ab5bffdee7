import math

import pytest

from rednet.training.schedule import Schedule

PAPER = Schedule(
    "cosine", lr=0.8, epochs=130, steps_per_epoch=626, warmup_epochs=5, warmup_start=0.25
)


def test_paper_warm_up_is_a_quarter_rising_to_the_cosine():
    # mmcv's LrUpdaterHook: regular_lr * (1 - (1 - iteration / 3130) * (1 - 0.25)).
    for step in range(20):
        assert PAPER.lr_at(step) == pytest.approx(0.8 * (1 - (1 - step / 3130) * 0.75), rel=1e-12)
    assert PAPER.lr_at(0) == pytest.approx(0.2)


@pytest.mark.parametrize("epoch", [5, 6, 64, 65, 129])
def test_paper_cosine_is_held_through_each_epoch(epoch):
    expected = 0.4 * (1 + math.cos(math.pi * epoch / 130))
    for step in (epoch * 626, epoch * 626 + 625):
        assert PAPER.lr_at(step) == pytest.approx(expected, rel=1e-12)


def test_cosine_per_step_ends_just_above_the_minimum():
    schedule = Schedule("cosine", 1.0, 4, 25, min_lr=0.1, step_on="step")
    rates = [schedule.lr_at(step) for step in range(schedule.total_steps)]
    assert rates[0] == 1.0
    assert rates == sorted(rates, reverse=True)
    assert 0.1 < rates[-1] < 0.101
    assert schedule.lr_at(schedule.total_steps) == pytest.approx(0.1)


def test_staircase_goes_down_at_its_milestones():
    schedule = Schedule("step", 0.1, 90, 10, milestones=(30.0, 60.0), gamma=0.1)
    assert schedule.lr_at(299) == pytest.approx(0.1)
    assert schedule.lr_at(300) == pytest.approx(0.01)
    assert schedule.lr_at(600) == pytest.approx(0.001)


def test_constant_with_a_fractional_warm_up():
    schedule = Schedule("constant", 2.0, 3, 10, warmup_epochs=0.5)
    assert [schedule.lr_at(step) for step in range(7)] == pytest.approx(
        [0.0, 0.4, 0.8, 1.2, 1.6, 2.0, 2.0]
    )
