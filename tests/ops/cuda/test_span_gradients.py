"""The kernel of a span's three gradients for all GPUs, emulated on the CPU."""

from functools import cache
from itertools import product

import pytest
import torch
from host_backend import on_host as run_on_host
from mutated_kernels import mutated
from span_cases import make_span_case
from span_gradients_cases import assert_accurate, gradients_of, is_right, some_daily

from rednet.ops import Window
from rednet.ops.cuda import span
from rednet.ops.cuda import span_gradients_plan as plan
from rednet.ops.cuda.source import FOLDER, source
from rednet.ops.span_sizes import SpanSizes

FLOAT32, BFLOAT16, FLOAT16 = torch.float32, torch.bfloat16, torch.float16
ARCHITECTURE = 75


@pytest.fixture
def on_host(emulator):
    """Like that of all tests, for a GPU without tensor cores that sum the gradients of taps."""
    with run_on_host(emulator.run, ARCHITECTURE) as launches:
        yield launches


# Window, size, groups, width of a group, D, images, dtype.
LAYERS = [
    ((7, 1, 3, 1), (9, 18), 2, 16, 16, 1, BFLOAT16),
    ((7, 2, 3, 1), (15, 18), 4, 16, 32, 2, BFLOAT16),
    ((3, 1, 1, 1), (9, 7), 3, 8, 7, 2, FLOAT32),
    ((5, 1, 4, 2), (8, 11), 2, 32, 10, 1, FLOAT16),
]


@pytest.mark.parametrize("window, size, groups, width, depth, batch, dtype", some_daily(LAYERS, 3))
def test_gradients(on_host, window, size, groups, width, depth, batch, dtype):
    case = make_span_case(size, groups, window, depth, batch, width, dtype)
    assert_accurate(case, gradients_of(case))
    (launch,) = on_host
    assert launch.kernel.operator == "span_gradients"


@pytest.mark.nightly
@pytest.mark.usefixtures("on_host")
@pytest.mark.parametrize("dtype", [FLOAT32, BFLOAT16, FLOAT16])
@pytest.mark.parametrize(
    "window, size, groups, width, depth",
    [
        (window, size, groups, width, depth)
        for window, size, (groups, width, depth) in product(
            [(7, 1, 3, 1), (7, 2, 3, 1), (3, 1, 1, 1), (5, 3, 1, 2), (4, 2, 2, 1)],
            [(7, 7), (17, 33)],
            [(4, 16, 16), (8, 16, 32), (2, 5, 3), (1, 48, 40)],
        )
    ],
)
def test_gradients_of_many_layers(window, size, groups, width, depth, dtype):
    case = make_span_case(size, groups, window, depth, 2, width, dtype)
    sizes = SpanSizes(groups * width, groups, depth, case.window)
    if plan.unavailable_reason(sizes, dtype, [case.grad]) is not None:
        pytest.skip("stored kernels move less memory")
    assert_accurate(case, gradients_of(case))


@pytest.mark.usefixtures("on_host")
@pytest.mark.parametrize(
    "names",
    [
        ("grad", "reduced"),
        *(pytest.param(each, marks=pytest.mark.nightly) for each in [("input",), ("weight",)]),
    ],
)
def test_any_strides(view, names):
    case = make_span_case((9, 10), 2, (3, 1, 1, 1), 8, 2, dtype=BFLOAT16)
    changed = {name: view(getattr(case, name), "spread") for name in names}
    expected, found = gradients_of(case), gradients_of(case._replace(**changed))
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


def test_the_same_bits_in_every_order_and_the_right_sums_over_tiles(emulator, small):
    case = make_span_case((20, 9), 2, (3, 1, 1, 1), 8, 2, dtype=BFLOAT16)
    results = []
    for seed in range(3):
        with run_on_host(lambda launch, seed=seed: emulator.run(launch, seed=seed), ARCHITECTURE):
            results.append(gradients_of(case))
    assert_accurate(case, results[0])
    for other in results[1:]:
        assert all(torch.equal(*pair) for pair in zip(results[0], other, strict=True))


@pytest.mark.usefixtures("on_host")
def test_what_is_outside_the_image_adds_nothing():
    """The windows of pixels beyond the edge see infinity, and their taps would be NaN."""
    case = make_span_case((9, 7), 1, (3, 1, 1, 1), 8)
    case.input[:, :, 8] = torch.inf
    case.grad[:, :, 7:] = 0
    found = gradients_of(case._replace(grad=case.grad))
    assert found[0][:, :, :7].isfinite().all() and found[0][:, :, 7:].isnan().all()


@pytest.mark.parametrize(
    "channels, depth, dtype, is_available",
    [(64, 16, BFLOAT16, True), (128, 32, BFLOAT16, True), (256, 64, BFLOAT16, False)],
)
def test_where_stored_kernels_move_less(channels, depth, dtype, is_available):
    sizes = SpanSizes(channels, channels // 16, depth, Window(7, 1, 3))
    reason = span.unavailable_reason("span_gradients", sizes, dtype, ARCHITECTURE)
    assert (reason is None) == is_available


@pytest.mark.nightly
@pytest.mark.parametrize("dtype, depth", [(BFLOAT16, 16), (BFLOAT16, 10), (FLOAT32, 16)])
@pytest.mark.parametrize("stride", [1, 2])
def test_shared_memory_is_what_the_kernel_has(emulator, stride, dtype, depth):
    launch = launch_of(make_span_case((20, 20), 2, (7, stride, 3, 1), depth, dtype=dtype))
    assert 0 <= emulator.shared_bytes(launch.kernel) - launch.kernel.shared_bytes < 64


def launch_of(case):
    tensors = case.grad, case.input, case.reduced
    return plan.plan_span_gradients(tensors, case.weight, case.window)[0]


BARRIERS = [
    (name, number)
    for name in ("span_gradients.cuh", "tap_sums.cuh")
    for number in range((FOLDER / name).read_text(encoding="utf-8").count("__syncthreads();"))
]
FAULTS = {
    "padding is not zero": ("clear(taps + AREA * TAP_PITCH", "//"),
    "the weight's padding is not zero": ("clear(weight + AREA * DEPTH_PITCH", "//"),
    "sums do not start at zero": ("clear(reinterpret_cast<float*>(group_sums)", "//"),
    "another group's weight": ("group * AREA * problem.weight.row", "0 * problem.weight.row"),
    "outside taps are kept": (
        "inside[i] ? to_storage<Storage>(sums[i][tap]) : Storage{}",
        "to_storage<Storage>(sums[i][tap])",
    ),
    "the last group is left out": (
        "chunk < GROUP_CHUNK; ++chunk",
        "chunk + 1 < GROUP_CHUNK; ++chunk",
    ),
    "every tile is the first": (
        "const Place place(problem, tile)",
        "const Place place(problem, 0)",
    ),
    "the bias has another place": ("sums[DEPTH][8 * eight", "sums[0][8 * eight"),
}


@pytest.fixture(scope="module")
def small(emulator):
    """Return a function that returns a small case and its results.

    A block has two groups and two tiles, and windows beyond the edge see infinity. In 16 bits warps
    meet to exchange data, and the emulator would not show that the block must meet, too.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "BLOCKS", 1)
        plan.select_kernel.cache_clear()

        @cache
        def make(dtype):
            case = make_span_case((9, 5), 2, (3, 1, 1, 1), 8, dtype=dtype)
            case.input[:, :, 8, 4] = torch.inf
            with run_on_host(emulator.run, ARCHITECTURE) as launches:
                results = gradients_of(case)
            assert launches[0].grid == (1, 1, 1)
            return case, results

        yield make
    plan.select_kernel.cache_clear()


@pytest.mark.parametrize("name, number", some_daily(BARRIERS, 3))
def test_a_missing_barrier(emulator, small, name, number):
    text = mutated(source(emulator.DEVICE), name, "__syncthreads();", "", number)
    assert not is_right(emulator, text, *small(FLOAT32), ARCHITECTURE)


@pytest.mark.parametrize("fault", some_daily(FAULTS, 4))
def test_a_fault_that_values_show(emulator, small, fault):
    text = mutated(source(emulator.DEVICE), "span_gradients.cuh", *FAULTS[fault])
    assert not is_right(emulator, text, *small(BFLOAT16), ARCHITECTURE)
