"""The native kernels on problems that hypothesis thinks of: values, bilinearity and adjointness."""

import shutil

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import HealthCheck, given, settings

from rednet.ops import compiler

pytestmark = [
    pytest.mark.usefixtures("only_native"),
    pytest.mark.skipif(
        not any(map(shutil.which, compiler.COMPILERS)), reason="there is no C++ compiler"
    ),
]
VIEWS = [
    *("contiguous", "channels_last", "transposed", "batch_last"),
    *("inside", "inside_channels_last", "spread"),
]
EPSILON = torch.finfo(torch.float64).eps


def same_each_time(share):
    """Settings with a multiple of the examples of hypothesis's profile, 100 by default."""
    return settings(
        max_examples=share * settings.default.max_examples,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )


@st.composite
def windows(draw):
    """Half of them are of the kernels' own kernel sizes, strides and dilation."""
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
    """Arguments of `make_case`; no side has more than 24 pixels beyond the smallest legal."""
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


@same_each_time(4)
@given(
    problem=problems(),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float64]),
    views=st.tuples(*[st.sampled_from(VIEWS)] * 3),
)
def test_values(make_case, view, assert_accurate, problem, dtype, views):
    case = map(view, make_case(**problem, dtype=dtype), views)
    assert_accurate(*case, problem["groups"], problem["window"])


@same_each_time(2)
@given(problem=problems(), views=st.tuples(*[st.sampled_from(VIEWS)] * 3))
def test_the_gradients_are_the_adjoints(make_case, view, operators, problem, views):
    """<involution2d(x, w), g> = <x, grad_input(g, w)> = <w, grad_weight(g, x)>."""
    input, weight, grad = map(view, make_case(**problem), views)
    found = operators(input, weight, grad, problem["groups"], problem["window"])
    magnitude = operators(
        input.abs(), weight.abs(), grad.abs(), problem["groups"], problem["window"]
    )[0]
    bound = 200 * EPSILON * (magnitude * grad.abs()).sum()
    by_output, by_input, by_weight = (
        (first * second).sum() for first, second in zip(found, (grad, input, weight), strict=True)
    )
    assert (by_output - by_input).abs() <= bound
    assert (by_output - by_weight).abs() <= bound


@same_each_time(2)
@given(problem=problems(), scale=st.integers(-8, 8), which=st.integers(0, 2))
def test_each_operator_is_linear_in_both(make_case, operators, problem, scale, which):
    """One of the three tensors is the sum of two, of which one is scaled."""
    groups, window = problem["groups"], problem["window"]
    case = list(make_case(**problem))
    one, other = case[which], scale * case[which].flip(0, 1, 2, 3)
    results = []
    for tensor in (one, other, one + other):
        case[which] = tensor
        results.append(operators(*case, groups, window))
    case[which] = one.abs() + other.abs()
    magnitudes = operators(*(tensor.abs() for tensor in case), groups, window)
    count = max(window[0] ** 2, problem["group_width"])
    for place in {0: (0, 2), 1: (0, 1), 2: (1, 2)}[which]:
        first, second, both = (result[place] for result in results)
        bound = 3 * (count + 1) * EPSILON * magnitudes[place]
        assert ((first + second - both).abs() <= bound).all()
