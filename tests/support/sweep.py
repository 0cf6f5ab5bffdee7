"""Involutions that hypothesis generates, for the tests of every backend."""

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings

VIEWS = [
    *("contiguous", "channels_last", "transposed", "batch_last"),
    *("inside", "inside_channels_last", "spread"),
]


def same_each_time(share):
    """Return settings with a multiple of the examples of hypothesis's profile, 100 by default."""
    return settings(
        max_examples=int(share * settings.default.max_examples),
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )


@st.composite
def windows(draw):
    """Generate windows; half of them have sizes that the kernels are specialised for."""
    if draw(st.booleans()):
        kernel_size, stride = draw(st.sampled_from([3, 7])), draw(st.sampled_from([1, 2]))
        dilation = 1
    else:
        kernel_size = draw(st.sampled_from([1, 2, 3, 4, 5, 7, 9, 11]))
        stride, dilation = draw(st.integers(1, 9)), draw(st.integers(1, 3))
    reach = dilation * (kernel_size - 1) + 1
    padding = draw(st.integers(0, reach + 2) | st.just(reach // 2))
    return kernel_size, stride, padding, dilation


@st.composite
def problems(draw):
    """Generate arguments of `make_case`; sides are at most 24 pixels above the minimum."""
    window = draw(windows())
    kernel_size, _, padding, dilation = window
    least = max(1, dilation * (kernel_size - 1) + 1 - 2 * padding)
    size = tuple(draw(st.integers(least, least + 24)) for _ in range(2))
    group_width = draw(st.sampled_from([1, 2, 3, 4, 8, 15, 16, 17, 32, 33, 48, 64]))
    return {
        "size": size,
        "groups": draw(st.integers(1, max(1, 24 // group_width))),
        "window": window,
        "batch": draw(st.integers(1, 3)),
        "group_width": group_width,
    }
