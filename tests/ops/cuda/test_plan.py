"""The arithmetic of launches against that of the kernels, and the tiles that are selected."""

from itertools import product

import pytest
import torch

from rednet.ops import Window
from rednet.ops.cuda import backend, launch_config
from rednet.ops.cuda.launch_config import OPERATORS
from rednet.ops.cuda.operand import ALIGNED, BY_CHANNEL, BY_COLUMN, PACKED
from rednet.ops.cuda.plan import plan_grad_input, plan_grad_weight, plan_involution2d
from rednet.ops.cuda.tiles import MAX_THREADS, SHARED_BYTES, select_tile

WINDOWS = [(1, 1, 0, 1), (3, 1, 1, 1), (7, 1, 3, 1), (7, 2, 3, 1), (5, 2, 4, 2), (9, 1, 4, 1)]


@pytest.fixture
def limit(monkeypatch):
    """Return a function that sets a limit of the selection and clears its cache."""

    def set_limit(name, value):
        monkeypatch.setattr(launch_config, name, value)
        launch_config.select_kernel.cache_clear()

    yield set_limit
    launch_config.select_kernel.cache_clear()


def plan_all(case, groups, window):
    """The launches of the three operators."""
    input, weight, grad = case
    return [
        plan_involution2d(input, weight, torch.empty_like(grad), Window(*window)),
        plan_grad_input(grad, weight, torch.empty_like(input), Window(*window)),
        plan_grad_weight(grad, input, torch.empty_like(weight), Window(*window)),
    ]


@pytest.mark.parametrize("layout", ["channels_last", "contiguous"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
@pytest.mark.parametrize("window", WINDOWS[1:4])
def test_shared_memory_is_what_the_kernels_have(emulator, make_case, view, window, dtype, layout):
    case = [view(tensor, layout) for tensor in make_case((20, 20), 2, window, 1, 16, dtype)]
    for launch in plan_all(case, 2, window):
        found = emulator.shared_bytes(launch.kernel)
        assert 0 <= found - launch.kernel.shared_bytes < 16


@pytest.mark.parametrize("operator", OPERATORS)
def test_every_tile_fits_every_gpu(operator):
    sides = product([1, 2, 3, 5, 7, 11, 15, 31, 33], [1, 2, 3], [1, 2, 3])
    for kernel_size, stride, dilation in sides:
        window = Window(kernel_size, stride, 0, dilation)
        for width, group_width, itemsize in product([1, 7, 56], [1, 3, 16, 48, 64], [2, 4, 8]):
            tile = select_tile(operator, width, group_width, itemsize, window)
            if tile is not None:
                assert tile.shared_bytes <= SHARED_BYTES
                assert tile.threads <= MAX_THREADS
                assert group_width % tile.channels == 0
                assert tile.channels % tile.thread_channels == 0


@pytest.mark.parametrize("itemsize", [2, 4])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("operator", OPERATORS)
def test_the_layers_of_rednet_have_tiles(operator, stride, itemsize):
    for width in (56, 28, 14, 7):
        assert select_tile(operator, width, 16, itemsize, Window(7, stride, 3)) is not None


@pytest.mark.parametrize(
    "views, orders",
    [
        (
            ("channels_last",) * 3,
            (ALIGNED, ALIGNED, ALIGNED),
        ),
        (
            ("contiguous",) * 3,
            (BY_COLUMN, BY_COLUMN, BY_COLUMN),
        ),
        (
            ("contiguous", "channels_last", "channels_last"),
            (BY_COLUMN, ALIGNED, ALIGNED),
        ),
        (
            ("inside_channels_last",) * 3,
            (BY_CHANNEL, PACKED, BY_CHANNEL),
        ),
    ],
)
def test_the_order_follows_the_strides(make_case, view, views, orders):
    window = (7, 1, 3, 1)
    case = make_case((12, 12), 4, window, 2, 16, torch.float32)
    input, weight, output = map(view, case, views)
    defines = dict(plan_involution2d(input, weight, output, Window(*window)).kernel.defines)
    found = [defines[f"{name}_ORDER"] for name in ("FIRST", "SECOND", "RESULT")]
    assert found == list(orders)


def test_a_grid_that_is_too_large_uses_the_direct_kernel(make_case, limit):
    limit("MAX_GRID_Y", 2)
    window = (3, 1, 1, 1)
    for launch in plan_all(make_case((17, 4), 1, window), 1, window):
        assert dict(launch.kernel.defines)["TILED"] == 0


@pytest.mark.parametrize("layout", ["channels_last", "contiguous"])
def test_offsets_of_64_bits(on_host, make_case, view, assert_accurate, limit, layout):
    limit("NARROW_BYTES", 0)
    window = (3, 2, 1, 1)
    case = make_case((9, 10), 2, window, group_width=16, dtype=torch.float32)
    assert_accurate(*(view(tensor, layout) for tensor in case), 2, window)
    assert all(dict(launch.kernel.defines)["WIDE_INDEX"] for launch in on_host)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 3, 1)])
@pytest.mark.parametrize("height, row, is_wide", [(3, 2**30, 1), (2, 2**29 - 2**12, 0)])
def test_rows_far_apart(on_host, make_case, assert_accurate, height, row, is_wide, order):
    """Offsets just beyond 32 bits and just within, in memory that is mostly untouched."""
    window = (3, 1, 1, 1)
    case = make_case((height, 4), 2, window, batch=2, group_width=16, dtype=torch.float32)
    assert_accurate(*(far_apart(tensor, row, order) for tensor in case), 2, window)
    assert [dict(launch.kernel.defines)["WIDE_INDEX"] for launch in on_host] == [is_wide] * 3


def far_apart(tensor, row, order):
    """Return the tensor with rows so many bytes apart and the dimensions in the given order."""
    strides = [0, 0, row // tensor.element_size(), 0]
    step = 1
    for dimension in reversed(order):
        if dimension != 2:
            strides[dimension] = step
            step *= tensor.shape[dimension]
    extent = sum((size - 1) * stride for size, stride in zip(tensor.shape, strides, strict=True))
    return torch.empty(extent + 1).as_strided(tensor.shape, strides).copy_(tensor)


@pytest.mark.parametrize("stride", [9, 40_000])
def test_phases_without_pixels_have_no_blocks(on_host, make_case, assert_accurate, stride):
    window = (3, stride, 1, 1)
    assert_accurate(*make_case((6, 7), 1, window), 1, window)
    assert on_host[1].grid == (7, 6, 2)


def test_more_images_than_a_grid_can_have(on_host, make_case, assert_accurate, monkeypatch):
    monkeypatch.setattr(backend, "MAX_GRID_Z", 2)
    window = (3, 1, 1, 1)
    assert_accurate(*make_case((4, 5), 1, window, batch=5), 1, window)
    assert [launch.grid[2] for launch in on_host] == [2, 2, 1] * 3
