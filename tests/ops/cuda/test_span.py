"""The CUDA kernels that make their taps by a span, emulated on the CPU."""

from itertools import product

import host_backend
import hypothesis.strategies as st
import pytest
import torch
from hypothesis import assume, given
from span_cases import assert_accurate, make_span_case
from sweep import problems, same_each_time

from rednet.ops import Window
from rednet.ops.cuda import span
from rednet.ops.cuda.source import source
from rednet.ops.cuda.span_tiles import MAX_KERNEL_SIZE, select_span_tile
from rednet.ops.cuda.tiles import MAX_THREADS, SHARED_BYTES
from rednet.ops.span_sizes import SpanSizes

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
KERNELS = ["span_involution2d", "span_grad_input"]
WINDOWS = {
    "stage 4": ((7, 1, 3, 1), (7, 7), 128),
    "stage 1": ((7, 1, 3, 1), (9, 18), 16),
    "stage 2, first": ((7, 2, 3, 1), (14, 15), 32),
    "stage 3, first": ((7, 2, 3, 1), (17, 33), 64),
    "stem": ((3, 1, 1, 1), (11, 17), 8),
}


def layers_of_rednet():
    """Layer and dtype: every third in every run, all nightly."""
    for (w, layer), (d, dtype) in product(enumerate(WINDOWS), enumerate(DTYPES)):
        marks = () if (w + d) % 3 == 0 else pytest.mark.nightly
        yield pytest.param(layer, dtype, marks=marks)


@pytest.mark.parametrize("layer, dtype", list(layers_of_rednet()))
def test_the_layers_of_rednet(on_host, layer, dtype):
    window, size, depth = WINDOWS[layer]
    assert_accurate(make_span_case(size, 2, window, depth, dtype=dtype))
    assert [launch.kernel.operator for launch in on_host] == KERNELS


@pytest.mark.nightly
@pytest.mark.parametrize("dtype", DTYPES[1:])
@pytest.mark.parametrize("layer", WINDOWS)
def test_16_bits_without_tensor_cores(emulator, layer, dtype):
    text = source("#define HOST_HAS_TENSOR_CORES false\n" + emulator.DEVICE)
    window, size, depth = WINDOWS[layer]
    with host_backend.on_host(lambda launch: emulator.run(launch, text)):
        assert_accurate(make_span_case(size, 2, window, depth, dtype=dtype))


# Arguments of make_span_case: dilation, other windows, widths of groups and numbers of channels.
OTHERS = [
    {"size": (9, 8), "window": (5, 1, 4, 2), "reduced_channels": 10, "group_width": 8},
    {"size": (9, 8), "window": (3, 2, 2, 2), "reduced_channels": 7, "group_width": 3},
    {"size": (17, 18), "window": (3, 2, 2, 2), "reduced_channels": 16, "group_width": 16},
    {"size": (9, 8), "window": (9, 1, 4, 1), "reduced_channels": 40, "group_width": 48},
    {"size": (6, 11), "window": (4, 3, 1, 1), "reduced_channels": 24, "group_width": 32},
    {"size": (8, 5), "window": (1, 1, 0, 1), "reduced_channels": 1, "group_width": 16},
    {"size": (17, 9), "window": (15, 2, 7, 1), "reduced_channels": 8, "group_width": 16},
]


def other_cases():
    """Each of the others in each dtype: every sixth in every run, all nightly."""
    for (number, other), (d, dtype) in product(enumerate(OTHERS), enumerate(DTYPES)):
        marks = () if (number * 3 + d) % 6 == 1 else pytest.mark.nightly
        yield pytest.param(other, dtype, marks=marks)


@pytest.mark.parametrize("other, dtype", list(other_cases()))
@pytest.mark.usefixtures("on_host")
def test_other_layers(other, dtype):
    assert_accurate(make_span_case(groups=2, dtype=dtype, has_bias=False, **other))


@pytest.mark.nightly
@pytest.mark.usefixtures("on_host")
@same_each_time(0.5)
@given(
    problem=problems(),
    dtype=st.sampled_from(DTYPES),
    depth=st.integers(1, 70),
    has_bias=st.booleans(),
)
def test_values(problem, dtype, depth, has_bias):
    sizes = {**problem, "reduced_channels": depth}
    groups, window = problem["groups"], Window(*problem["window"])
    layer = SpanSizes(groups * problem["group_width"], groups, depth, window)
    assume(all(span.unavailable_reason(name, layer, dtype, 80) is None for name in KERNELS))
    assert_accurate(make_span_case(**sizes, dtype=dtype, has_bias=has_bias))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_strides_and_negative_views(on_host, dtype):
    """Tensors inside others, a weight of other strides, torch's negative bit, two launches."""
    case = make_span_case((6, 7), 2, (3, 1, 1, 1), 16, batch=3, dtype=dtype)
    around = torch.full([3, 9, 10, 40], torch.nan, dtype=dtype).permute(0, 3, 1, 2)
    reduced = around[:, 3:19, 1:7, 1:8].copy_(case.reduced)
    weight = case.weight.squeeze(3).transpose(0, 1).contiguous().transpose(0, 1)[..., None]
    negative = torch.complex(torch.zeros(case.bias.shape), -case.bias.float()).conj().imag
    changed = case._replace(reduced=reduced, weight=weight)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(span.backend, "MAX_GRID_Z", 2)
        assert_accurate(changed)
    assert [launch.grid[2] for launch in on_host] == [2, 1, 2, 1]
    if dtype is torch.float32:
        assert negative.is_neg()
        assert_accurate(case._replace(bias=negative))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("window", [(7, 1, 3, 1), (7, 2, 3, 1), (3, 1, 1, 1)])
def test_shared_memory_is_what_the_kernels_have(on_host, emulator, window, dtype):
    if dtype is torch.bfloat16 and window != (7, 1, 3, 1):
        pytest.skip("a longer compilation, for the same arithmetic")
    assert_accurate(make_span_case((8, 9), 1, window, 8, dtype=dtype))
    for launch in on_host:
        found = emulator.shared_bytes(launch.kernel)
        assert 0 <= found - launch.kernel.shared_bytes < 16


@pytest.mark.parametrize("operator", KERNELS)
def test_every_tile_fits_every_gpu(operator):
    sides = product([1, 2, 3, 5, 7, 11, 15], [1, 2, 3], [1, 2, 3])
    for kernel_size, stride, dilation in sides:
        window = Window(kernel_size, stride, 0, dilation)
        for width, group_width, itemsize in product([1, 7, 56], [1, 3, 16, 48, 64], [2, 4]):
            tile = select_span_tile(operator, width, group_width, itemsize, window)
            if tile is not None:
                assert tile.shared_bytes <= SHARED_BYTES
                assert tile.threads <= MAX_THREADS
                assert group_width % tile.channels == 0
                assert tile.channels % tile.thread_channels == 0


SIZES = SpanSizes(channels=32, groups=2, reduced_channels=8, window=Window(7, 1, 3))


@pytest.mark.parametrize("operator", KERNELS)
def test_what_has_no_kernel(operator):
    def reason(sizes=SIZES, dtype=torch.bfloat16, tensors=()):
        return span.unavailable_reason(operator, sizes, dtype, 80, tensors)

    def images(height=9, layout=torch.channels_last):
        shapes = (1, 32, height, 9), (1, 8, height, 9)
        return [torch.empty(shape).contiguous(memory_format=layout) for shape in shapes]

    weight = torch.empty(98, 8, 1, 1)
    wide = SpanSizes(32, 2, 8, Window(MAX_KERNEL_SIZE + 1))
    assert reason() is None
    assert reason(tensors=[*images(), weight]) is None
    assert "not in torch.float64" in reason(dtype=torch.float64)
    assert "no tile" in reason(wide)
    assert "empty" in reason(tensors=[*images(height=0), weight])
    assert "channels_last" in reason(tensors=[*images(layout=torch.contiguous_format), weight])
    assert "too large" in reason(tensors=[*images(height=65530), weight])
