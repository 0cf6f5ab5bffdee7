"""The native kernels against the reference in float64: every window, size, layout and dtype."""

import shutil
from itertools import cycle, islice, product

import pytest
import torch

from rednet.ops import Window, compiler, native
from rednet.ops.c_interface import shape_struct

pytestmark = [
    pytest.mark.usefixtures("only_native"),
    pytest.mark.skipif(
        not any(map(shutil.which, compiler.COMPILERS)), reason="there is no C++ compiler"
    ),
]

DTYPES = [torch.float32, torch.bfloat16, torch.float64]
LAYOUTS = ["contiguous", "channels_last"]
VIEWS = [*LAYOUTS, "transposed", "batch_last", "inside", "inside_channels_last", "spread"]
SIZES = [(1, 2), (2, 15), (25, 1), (33, 15), (7, 56), (16, 17), (1, 33)]
GROUPS = [(1, 3), (4, 1), (3, 4), (1, 16), (2, 17)]
# Those with code of their own, and one without.
WINDOWS = [(3, 1, 1, 1), (3, 2, 1, 1), (7, 1, 3, 1), (7, 2, 3, 1), (5, 1, 2, 1)]
SPECIAL = [torch.nan, torch.inf, -torch.inf]


def windows_of(kernel_size):
    """Every stride, dilation and padding, up to windows that lie beside the image as a whole."""
    for stride, dilation in product([1, 2, 3, kernel_size + 2], [1, 2, 3]):
        reach = dilation * (kernel_size - 1) + 1
        for padding in sorted({0, 1, reach // 2, reach + 2}):
            yield kernel_size, stride, padding, dilation


def enlarged(size, window):
    """A size that has outputs."""
    kernel_size, _, padding, dilation = window
    return tuple(max(side, dilation * (kernel_size - 1) + 1 - 2 * padding) for side in size)


def every_window():
    """Every dtype at the kernel sizes with code of their own; the others in turn, all nightly."""
    for number, (kernel_size, dtype) in enumerate(product([1, 2, 3, 4, 5, 7, 9, 11], DTYPES)):
        is_daily = kernel_size in (3, 7) or (number + number // 3) % 3 == 0
        yield pytest.param(kernel_size, dtype, marks=() if is_daily else pytest.mark.nightly)


@pytest.mark.parametrize(("kernel_size", "dtype"), list(every_window()))
def test_every_window(kernel_size, dtype, make_case, view, assert_accurate):
    layouts = product(LAYOUTS, repeat=3)
    turns = zip(windows_of(kernel_size), cycle(SIZES), cycle(GROUPS), cycle(layouts), strict=False)
    for window, size, (groups, group_width), names in turns:
        size = enlarged(size, window)
        case = make_case(size, groups, window, group_width=group_width, dtype=dtype)
        assert_accurate(*map(view, case, names), groups, window)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("group_width", [1, 3, 4, 16, 17, 32, 48, 64])
def test_every_width_of_a_group(group_width, dtype, make_case, view, assert_accurate):
    sizes = [(1, 1), (2, 15), (15, 2), (25, 33), (33, 1), (56, 15), (15, 56)]
    turns = islice(zip(cycle(WINDOWS), cycle(sizes), cycle(product(LAYOUTS, repeat=3))), 16)
    for number, (window, size, names) in enumerate(turns):
        groups = 1 + number % 3 if group_width < 32 else 1
        case = make_case(size, groups, window, 1, group_width, dtype)
        assert_accurate(*map(view, case, names), groups, window)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_group_of_many_channels(layout, dtype, make_case, view, assert_accurate):
    for window in WINDOWS:
        case = make_case((5, 18), 1, window, 1, 300, dtype)
        assert_accurate(*(view(tensor, layout) for tensor in case), 1, window)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_many_groups(layout, make_case, view, assert_accurate):
    for window in WINDOWS:
        case = make_case((4, 9), 70, window, 3, 2, torch.float32)
        assert_accurate(*(view(tensor, layout) for tensor in case), 70, window)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("window", WINDOWS)
def test_views_have_the_same_bits(window, dtype, make_case, view, operators, assert_accurate):
    input, weight, grad = make_case((9, 21), 2, window, group_width=17, dtype=dtype)
    assert_accurate(input, weight, grad, 2, window)
    plain = operators(input, weight, grad, 2, window)
    for name, step in product(VIEWS, [0, 1, 2, 5]):
        names = [VIEWS[(VIEWS.index(name) + step * turn) % len(VIEWS)] for turn in range(3)]
        case = map(view, (input, weight, grad), names)
        assert all(map(torch.equal, operators(*case, 2, window), plain)), names


@pytest.mark.parametrize("dims", [[0], [1], [2], [3], [0, 1], [2, 3], [0, 1, 2, 3]])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_expanded_arguments(layout, dims, make_case, view, operators):
    for window in WINDOWS:
        case = []
        for tensor in make_case((9, 21), 2, window, group_width=17, dtype=torch.float32):
            one = view(tensor, layout)
            for dim in dims:
                one = one.narrow(dim, 0, 1)
            case.append(one.expand(tensor.shape))
        copies = [tensor.clone(memory_format=torch.contiguous_format) for tensor in case]
        expected = operators(*copies, 2, window)
        assert all(map(torch.equal, operators(*case, 2, window), expected))


def special_places(shape):
    """Slices of a tensor: its edges and corners, where a vector ends before its last lane."""
    batch, channels, height, width = (size - 1 for size in shape)
    yield slice(None), slice(None), slice(None), width
    yield slice(None), slice(None), height, slice(None)
    yield slice(None), channels, slice(None), slice(None)
    yield batch, channels, height, width
    yield 0, channels // 2, height // 2, 0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("window", [*WINDOWS, (3, 2, 3, 2), (2, 5, 0, 1)])
def test_infinities_and_nan_stay_in_their_place(
    window, layout, dtype, make_case, view, assert_accurate
):
    values = cycle(SPECIAL)
    case = make_case((6, 19), 2, window, group_width=5, dtype=dtype)
    for changed, tensor in enumerate(case):
        for place, value in zip(special_places(tensor.shape), values, strict=False):
            spoilt = [other.clone() for other in case]
            spoilt[changed][place] = value
            assert_accurate(*(view(other, layout) for other in spoilt), 2, window)


@pytest.mark.parametrize("dtype", DTYPES)
def test_infinities_and_nan_that_no_output_meets(dtype, make_case, operators):
    """Between the windows of a stride of 5, and in the last columns."""
    window = (3, 5, 0, 1)
    input, weight, grad = make_case((14, 19), 2, window, group_width=16, dtype=dtype)
    plain = operators(input, weight, grad, 2, window)
    input[:, :, 3::5], input[:, :, 4::5] = torch.nan, torch.inf
    input[..., 3::5], input[..., 4::5] = torch.nan, torch.inf
    assert all(map(torch.equal, operators(input, weight, grad, 2, window), plain))


@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_beyond_the_range_are_infinite(dtype, operators):
    largest = torch.finfo(dtype).max
    images = torch.full((1, 2, 5, 5), largest, dtype=dtype)
    weight = torch.full((1, 9, 5, 5), -2.0, dtype=dtype)
    output, to_input, _ = operators(images, weight, images, 1, (3, 1, 1, 1))
    assert output.eq(-torch.inf).all()
    assert to_input.eq(-torch.inf).all()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_an_empty_batch(dtype, layout, make_case, view, operators):
    case = make_case((5, 4), 2, (3, 2, 1, 1), batch=0, dtype=dtype)
    found = operators(*(view(tensor, layout) for tensor in case), 2, (3, 2, 1, 1))
    assert [tensor.shape for tensor in found] == [case[2].shape, case[0].shape, case[1].shape]


@pytest.mark.parametrize("dim", [0, 1, 2, 3])
@pytest.mark.parametrize("far", [0, 1, 2])
def test_strides_beyond_32_bits(far, dim, make_case, operators):
    """One dimension of one tensor spans 2^31 elements, of which few are ever touched."""
    window = (3, 1, 1, 1)
    case = list(make_case((3, 3), 2, window, group_width=17, dtype=torch.bfloat16))
    expected = operators(*case, 2, window)
    strides = list(case[far].stride())
    strides[dim] = 2**31 // (case[far].shape[dim] - 1) + 1
    memory = torch.empty(2**31 + 4096, dtype=torch.bfloat16)
    case[far] = memory.as_strided(case[far].shape, strides).copy_(case[far])
    assert all(map(torch.equal, operators(*case, 2, window), expected))


@pytest.mark.parametrize("dim", [0, 1, 2, 3])
def test_results_beyond_32_bits(dim, make_case, operators):
    sides = (3, 1, 1, 1)
    input, weight, grad = make_case((3, 3), 2, sides, group_width=17, dtype=torch.bfloat16)
    expected = operators(input, weight, grad, 2, sides)
    shape = shape_struct(input.shape, 2, weight.shape[2:], Window(*sides))
    pairs = [(input, weight), (grad, weight), (grad, input)]
    names = ["involution2d", "involution2d_grad_input", "involution2d_grad_weight"]
    for name, pair, result in zip(names, pairs, expected, strict=True):
        strides = list(result.stride())
        strides[dim] = 2**31 // (result.shape[dim] - 1) + 1
        memory = torch.empty(2**31 + 4096, dtype=torch.bfloat16)
        found = memory.as_strided(result.shape, strides)
        assert native._run(name, shape, *pair, found).equal(result)
