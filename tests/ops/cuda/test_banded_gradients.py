"""The kernels of a span's gradients by banded matrices, emulated on the CPU."""

from functools import cache

import pytest
import torch
from host_backend import on_host as run_on_host
from mutated_kernels import mutated
from span_cases import make_span_case
from span_gradients_cases import assert_accurate, gradients_of, is_right, some_daily

from rednet.ops import Window
from rednet.ops.cuda import banded_gradients_plan as plan
from rednet.ops.cuda import span
from rednet.ops.cuda.launch_config import GRADIENT_OPERATORS
from rednet.ops.cuda.source import FOLDER, source
from rednet.ops.span_sizes import SpanSizes

BFLOAT16, FLOAT16 = torch.bfloat16, torch.float16


# Window, size, groups, D, images, dtype.
LAYERS = [
    ((7, 1, 3, 1), (9, 18), 2, 16, 1, BFLOAT16),
    ((7, 2, 3, 1), (15, 34), 2, 64, 1, BFLOAT16),
    ((7, 1, 3, 1), (7, 7), 1, 72, 3, FLOAT16),
    ((7, 1, 0, 1), (21, 7), 3, 40, 2, BFLOAT16),
    ((3, 1, 1, 1), (1, 9), 2, 8, 2, FLOAT16),
    ((5, 3, 2, 1), (14, 25), 2, 24, 1, BFLOAT16),
    ((3, 1, 2, 2), (12, 12), 1, 128, 1, BFLOAT16),
    ((3, 2, 2, 3), (12, 13), 1, 16, 1, BFLOAT16),
    ((3, 4, 1, 2), (30, 41), 2, 48, 1, FLOAT16),
]


@pytest.mark.parametrize("window, size, groups, depth, batch, dtype", some_daily(LAYERS, 9))
def test_gradients(on_host, window, size, groups, depth, batch, dtype):
    case = make_span_case(size, groups, window, depth, batch, dtype=dtype)
    assert_accurate(case, gradients_of(case))
    assert tuple(launch.kernel.operator for launch in on_host) == GRADIENT_OPERATORS


@pytest.fixture(scope="module")
def small(emulator):
    """Return a small case and its results.

    A block has two warps, the gradients of the weight two groups and all tiles. Windows beyond the
    edge of the output see infinity.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "BLOCKS", 1)
        plan.select_kernel.cache_clear()

        @cache
        def make():
            case = make_span_case((9, 5), 2, (3, 1, 1, 1), 8, 2, dtype=BFLOAT16)
            case.input[:, :, 8, 4] = torch.inf
            with run_on_host(emulator.run) as launches:
                results = gradients_of(case)
            assert [launch.grid for launch in launches] == [(4, 1, 1), (1, 2, 1)]
            return case, results

        yield make
    plan.select_kernel.cache_clear()


def test_the_same_bits_in_every_order_and_the_right_sums_over_tiles(emulator, small):
    case, _ = small()
    finite = case._replace(input=case.input.nan_to_num(posinf=1))
    results = []
    for seed in range(3):
        with run_on_host(lambda launch, seed=seed: emulator.run(launch, seed=seed)):
            results.append(gradients_of(finite))
    assert_accurate(finite, results[0])
    for other in results[1:]:
        assert all(torch.equal(*pair) for pair in zip(results[0], other, strict=True))


def test_what_is_outside_the_image_adds_nothing(small):
    """Only the pixels whose windows have the infinite one get infinity, or its sums."""
    _, (of_reduced, *_) = small()
    assert of_reduced[:, :, :7].isfinite().all() and of_reduced[:, :, :, :3].isfinite().all()
    assert not of_reduced[:, :, 7:, 3:].isfinite().any()


@pytest.mark.nightly
@pytest.mark.parametrize("window, size, groups, depth, batch, dtype", LAYERS)
def test_shared_memory_is_what_the_kernels_have(
    emulator, window, size, groups, depth, batch, dtype
):
    case = make_span_case(size, groups, window, depth, batch, dtype=dtype)
    tensors = case.grad, case.input, case.reduced
    for launch in plan.plan_banded_gradients(tensors, case.weight, case.window)[0]:
        assert 0 <= emulator.shared_bytes(launch.kernel) - launch.kernel.shared_bytes < 64


@pytest.mark.parametrize(
    "channels, groups, depth, window, dtype, architecture",
    [
        (64, 4, 16, (7, 1, 3), torch.float32, 90),
        (64, 4, 16, (7, 1, 3), BFLOAT16, 75),
        (64, 8, 16, (7, 1, 3), BFLOAT16, 90),
        (64, 4, 10, (7, 1, 3), BFLOAT16, 90),
        (64, 4, 16, (7, 1, 6, 2), BFLOAT16, 90),
        (64, 4, 16, (9, 1, 4), BFLOAT16, 90),
    ],
)
def test_where_there_are_none(channels, groups, depth, window, dtype, architecture):
    sizes = SpanSizes(channels, groups, depth, Window(*window))
    assert plan.unavailable_reason(sizes, dtype, architecture) is not None


@pytest.mark.parametrize("channels", [32, 64, 128, 256, 512])
@pytest.mark.parametrize("stride", [1, 2])
def test_every_layer_of_rednet_has_kernels(channels, stride):
    sizes = SpanSizes(channels, channels // 16, channels // 4, Window(7, stride, 3))
    for dtype in (BFLOAT16, FLOAT16):
        assert span.unavailable_reason("span_gradients", sizes, dtype, 80) is None
        assert span.unavailable_reason("span_gradients", sizes, dtype, 90) is None


def test_other_layouts_have_the_kernel_for_all(on_host, view):
    case = make_span_case((9, 5), 2, (3, 1, 1, 1), 8, dtype=BFLOAT16)
    assert_accurate(case, gradients_of(case._replace(grad=view(case.grad, "contiguous"))))
    assert [launch.kernel.operator for launch in on_host] == ["span_gradients"]


# Without those that follow a fetch: the emulator has all threads run to an exchange in their warps,
# and what they fetched arrive, before one goes on.
BARRIERS = [
    (f"{name}.cuh", number)
    for name in GRADIENT_OPERATORS
    for number in range(
        1, (FOLDER / f"{name}.cuh").read_text(encoding="utf-8").count("__syncthreads")
    )
]
# The changed file, the old text and the new text.
FAULTS = {
    "another row of the window": ("tap_bands.cuh", "line * D != y", "(K - 1 - line) * D != y"),
    "the other half of a band": (
        "tap_bands.cuh",
        "number < pixel + next",
        "number <= pixel + next",
    ),
    "a lane next to the right one": ("tap_bands.cuh", "(number + pixel + next) & 7", "number"),
    "vectors of a pixel exchanged": ("tap_bands.cuh", "lane / 8 % 2)", "1 - lane / 8 % 2)"),
    "outside taps are kept": (
        "tap_band_block.cuh",
        "i < problem.out_height ? mask",
        "i < 99 ? mask",
    ),
    "places without a tap are kept": ("tap_band_block.cuh", "tap_at(lane.number) >= 0", "true"),
    "another group": ("tap_band_block.cuh", "group * GROUP_WIDTH", "0 * GROUP_WIDTH"),
    "a unit of another column": ("tap_band_block.cuh", "/ UNIT_COLUMNS * UNIT_ROWS", "* 0"),
    "the weight of another group": (
        *("span_grad_reduced.cuh", "static_cast<long long>(group) * AREA"),
        "static_cast<long long>(0) * AREA",
    ),
    "the last group is left out": (
        "span_grad_reduced.cuh",
        "group < problem",
        "group + 1 < problem",
    ),
    "rows of pixels exchanged": ("span_grad_reduced.cuh", "row % 2 * 2", "2 - row % 2 * 2"),
    "taps are not transposed": ("span_grad_reduced.cuh", "transpose_matrix(", "unsigned("),
    "an image is left out": ("span_tile.cuh", "++image", "image += 2"),
    "only one warp's sums": ("span_grad_weight.cuh", "warp < WARPS", "warp < 1"),
    "sums of a warp are lost": ("span_grad_weight.cuh", "warp == 0);", "true);"),
    "the bias has another place": ("span_grad_weight.cuh", "is_bias ? DEPTH :", "is_bias ? 0 :"),
    "the other octet": ("span_grad_weight.cuh", "row * COLUMNS * DEPTH_PITCH", "0"),
}


@pytest.mark.parametrize("name, number", some_daily(BARRIERS, 4))
def test_a_missing_barrier(emulator, small, name, number):
    text = mutated(source(emulator.DEVICE), name, "__syncthreads();", "", number)
    assert not is_right(emulator, text, *small())


@pytest.mark.parametrize("fault", some_daily(FAULTS, 9))
def test_a_fault_that_values_show(emulator, small, fault):
    assert not is_right(emulator, mutated(source(emulator.DEVICE), *FAULTS[fault]), *small())


def test_without_faults(emulator, small):
    assert is_right(emulator, source(emulator.DEVICE), *small())
