"""The CUDA kernels, on the CPU, on involutions that hypothesis thinks of."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from sweep import VIEWS, problems, same_each_time

pytestmark = pytest.mark.usefixtures("on_host")
DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64]


@same_each_time(1)
@given(
    problem=problems(),
    dtype=st.sampled_from(DTYPES),
    views=st.tuples(*[st.sampled_from(VIEWS)] * 3),
)
def test_values(make_case, view, assert_accurate, problem, dtype, views):
    case = map(view, make_case(**problem, dtype=dtype), views)
    assert_accurate(*case, problem["groups"], problem["window"])


@pytest.mark.parametrize("layout", ["channels_last", "contiguous"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [(7, 7), (14, 15), (17, 33)])
@pytest.mark.parametrize("window", [(7, 1, 3, 1), (7, 2, 3, 1), (3, 1, 1, 1)])
def test_the_layers_of_rednet(make_case, view, assert_accurate, window, size, dtype, layout):
    case = make_case(size, 2, window, group_width=16, dtype=dtype)
    assert_accurate(*(view(tensor, layout) for tensor in case), 2, window)
