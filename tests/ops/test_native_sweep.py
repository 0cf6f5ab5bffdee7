"""The native kernels on generated problems: values, bilinearity and adjointness."""

import shutil

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from sweep import VIEWS, problems, same_each_time

from rednet.ops import compiler

pytestmark = [
    pytest.mark.usefixtures("only_native"),
    pytest.mark.skipif(
        not any(map(shutil.which, compiler.COMPILERS)), reason="there is no C++ compiler"
    ),
]
EPSILON = torch.finfo(torch.float64).eps


@same_each_time(4)
@given(
    problem=problems(),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float64]),
    views=st.tuples(*[st.sampled_from(VIEWS)] * 3),
)
def test_values(make_case, view, assert_accurate, problem, dtype, views):
    case = map(view, make_case(**problem, dtype=dtype), views)
    assert_accurate(*case, problem["groups"], problem["window"])


@same_each_time(1)
@given(
    problem=problems(),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float64]),
    views=st.tuples(*[st.sampled_from(VIEWS)] * 2),
    relu=st.booleans(),
)
def test_values_with_scale_shift_and_relu(
    make_case, view, assert_affine_accurate, problem, dtype, views, relu
):
    case = map(view, make_case(**problem, dtype=dtype)[:2], views)
    assert_affine_accurate(*case, problem["window"], relu)


@same_each_time(2)
@given(
    problem=problems(),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    views=st.tuples(*[st.sampled_from(VIEWS)] * 2),
    depth=st.sampled_from([1, 2, 3, 8, 15, 16, 17, 32, 33]),
    relu=st.sampled_from([None, False, True]),
)
def test_values_with_kernels_of_a_span(
    make_case, view, assert_span_accurate, problem, dtype, views, depth, relu
):
    input, weight, _ = make_case(**problem, dtype=dtype)
    reduced = weight[:, :1].expand(-1, depth, -1, -1) * torch.linspace(-1, 1, depth)[:, None, None]
    case = map(view, (input, reduced.to(dtype)), views)
    assert_span_accurate(*case, problem["groups"], problem["window"], relu)


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
