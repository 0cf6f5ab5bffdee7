"""The largest batch is found by few trials, and on a CPU without trying what may be too large."""

import pytest

from rednet.training.batch_size import extrapolate, largest_fitting


@pytest.mark.parametrize("most", [1, 7, 8, 9, 100, 5000])
@pytest.mark.parametrize("limit", [0, 1, 5, 8, 16, 17, 255, 256, 4999, 5000, 10**6])
def test_the_largest_that_fits_is_found(limit, most):
    tried = []

    def fits(size):
        tried.append(size)
        return size <= limit

    assert largest_fitting(fits, most) == min(limit, most)
    assert len(tried) == len(set(tried)) <= 26
    assert max(tried) <= max(8, 2 * limit)


def measure(peak, budget, most=10**6):
    tried = []

    def watched(size):
        tried.append(size)
        return int(peak(size))

    need = extrapolate(
        watched,
        before=10**9,
        budget=budget,
        most=most,
        least_per_image=1000,
        enough=2 * 10**8,
        largest=64,
    )
    return need.largest(budget, most), tried


def test_a_straight_line_is_continued():
    size, tried = measure(lambda n: 1.2e9 + 10**7 * n, 6.2e9)
    assert size == 500
    assert tried == [2, 4, 8, 16, 32, 64][: len(tried)]


def test_nothing_is_tried_that_could_be_too_much():
    budget = 3e9
    peak = lambda n: 1.2e9 + 4e8 * n  # noqa: E731
    size, tried = measure(peak, budget)
    assert peak(size) <= budget < peak(size + 1)
    assert all(peak(each) <= budget for each in tried)


def test_less_than_the_smallest_trial_and_more_than_all_images():
    assert measure(lambda n: 9e9, 2e9)[0] == 0
    assert measure(lambda n: 1e9 + n, 9e9, most=40)[0] == 40
