"""The CUDA kernels, emulated on the CPU, on generated involutions."""

from itertools import product

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from sweep import VIEWS, problems, same_each_time

pytestmark = pytest.mark.usefixtures("on_host")
DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64]


PROBLEM = {
    "problem": problems(),
    "dtype": st.sampled_from(DTYPES),
    "views": st.tuples(*[st.sampled_from(VIEWS)] * 3),
}


@same_each_time(0.2)
@given(**PROBLEM)
def test_values(make_case, view, assert_accurate, problem, dtype, views):
    case = map(view, make_case(**problem, dtype=dtype), views)
    assert_accurate(*case, problem["groups"], problem["window"])


@pytest.mark.nightly
@same_each_time(0.5)
@given(**PROBLEM)
def test_more_values(make_case, view, assert_accurate, problem, dtype, views):
    case = map(view, make_case(**problem, dtype=dtype), views)
    assert_accurate(*case, problem["groups"], problem["window"])


def layers_of_rednet():
    """Windows, sizes, dtypes and layouts: any two values together in every run, all nightly."""
    windows, sizes = [(7, 1, 3, 1), (7, 2, 3, 1), (3, 1, 1, 1)], [(7, 7), (14, 15), (17, 33)]
    for (w, window), (s, size), (d, dtype), (number, layout) in product(
        *map(enumerate, (windows, sizes, DTYPES, ["channels_last", "contiguous"]))
    ):
        is_daily = (w + s + d) % 3 == 0 and (w + d + number) % 2 == 0
        marks = () if is_daily else pytest.mark.nightly
        yield pytest.param(window, size, dtype, layout, marks=marks)


@pytest.mark.parametrize(("window", "size", "dtype", "layout"), list(layers_of_rednet()))
def test_the_layers_of_rednet(make_case, view, assert_accurate, window, size, dtype, layout):
    case = make_case(size, 2, window, group_width=16, dtype=dtype)
    assert_accurate(*(view(tensor, layout) for tensor in case), 2, window)
