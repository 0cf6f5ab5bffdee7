"""The kernels of a span's gradients as machine code."""

from itertools import cycle, product

import numpy as np
import pytest
import torch

from benchmarks.kernels import toolchain
from benchmarks.kernels.cases import DTYPES, LAYERS, ODD
from benchmarks.kernels.machine_code import count_opcodes, read_resources
from benchmarks.kernels.occupancy import occupancy
from benchmarks.kernels.shared_memory import count_wavefronts
from benchmarks.kernels.span_gradients_report import GradientsCase, count_round
from benchmarks.kernels.toolchain import ARCHITECTURES
from rednet.ops.cuda import banded_gradients_plan
from rednet.ops.cuda.launch_config import GRADIENT_OPERATORS
from rednet.ops.cuda.span_gradients_plan import plan_span_gradients
from rednet.ops.span_sizes import SpanSizes


def launch_for_all(layer, dtype):
    """Return the launch of the kernel for all GPUs, of one channels_last image."""
    layer, dtype = LAYERS[layer], DTYPES[dtype]
    depth = layer.channels // 4
    shapes = layer.output_shape, layer.input_shape, (depth, *layer.output_shape[1:])
    images = [
        torch.empty(1, *shape, dtype=dtype).to(memory_format=torch.channels_last)
        for shape in shapes
    ]
    weight = torch.empty(layer.weight_shape[0], depth, 1, 1, dtype=dtype)
    return plan_span_gradients(tuple(images), weight, layer.window)[0]


def some_daily(cases):
    """Return parameters of which the first is tested in every run."""
    marks = cycle([()] + 999 * [pytest.mark.nightly])
    return [pytest.param(*case, marks=mark) for case, mark in zip(cases, marks, strict=False)]


LAYERS_FOR_ALL = ("stage1", "stage2-first", "stage2")
FOR_ALL = product(LAYERS_FOR_ALL, ("bfloat16", "float16", "float32"), ARCHITECTURES)


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("layer, dtype, arch", some_daily(FOR_ALL))
def test_that_for_all_compiles_without_local_memory(layer, dtype, arch):
    kernel = launch_for_all(layer, dtype).kernel
    opcodes = check_resources(kernel, toolchain.compile(kernel, arch))
    assert ("HMMA" in opcodes) == (dtype != "float32" and arch >= 80)


def check_resources(kernel, cubin):
    """Check a kernel's memory and return its opcodes."""
    found = read_resources(cubin)
    assert found.stack_bytes == found.local_bytes == 0
    assert found.shared_bytes == kernel.shared_bytes
    assert occupancy(cubin.arch, kernel.threads, found.registers, found.shared_bytes).blocks >= 1
    opcodes = count_opcodes(toolchain.disassemble(cubin))
    assert not {"ATOM", "ATOMG", "ATOMS", "RED", "LDL", "STL"} & set(opcodes)
    return opcodes


def sizes_of(name):
    layer = LAYERS[name]
    groups = layer.channels // layer.group_channels
    return SpanSizes(layer.channels, groups, layer.channels // 4, layer.window)


def test_what_runs_where_the_compiler_spills():
    """At stride 2 and many reduced channels other kernels run, or the table composes."""
    refused = {
        (layer, arch)
        for layer, arch in product(REDNET, ARCHITECTURES[1:])
        if banded_gradients_plan.unavailable_reason(sizes_of(layer), torch.bfloat16, arch)
    }
    assert refused == {*product(("stage3-first", "stage4-first"), (86, 89, 120))}


REDNET = [name for name in LAYERS if name != ODD.name]
BANDED = [
    case
    for case in product(
        GRADIENT_OPERATORS, ("stage1", *REDNET), ("bfloat16", "float16"), ARCHITECTURES[1:]
    )
    if banded_gradients_plan.unavailable_reason(sizes_of(case[1]), DTYPES[case[2]], case[3]) is None
]


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("operator, layer, dtype, arch", some_daily(BANDED))
def test_banded_kernels_compile_without_local_memory(operator, layer, dtype, arch):
    case = GradientsCase(layer, dtype, operator)
    kernel, window = case.launch.kernel, LAYERS[layer].window
    cubin = toolchain.compile(kernel, arch)
    check_resources(kernel, cubin)
    _, summing = count_round(kernel, toolchain.disassemble(cubin))
    bands = 4 * window.kernel_size * window.stride
    lines, eights = -(-window.kernel_size // 2), case.macros["DEPTH_CHUNK"] // 8
    products = 2 * lines * eights
    if operator == GRADIENT_OPERATORS[1]:
        products = window.kernel_size * eights + 2 * lines
    assert summing["HMMA"] == bands + products


@pytest.mark.parametrize("start", range(8))
def test_a_matrix_of_pixels_is_loaded_without_conflicts(start):
    """As `PhasedPixels` has them: 8 rows of 16 bytes are a quarter of the lanes of a load."""
    pixel = np.arange(start, start + 8)
    for half in (0, 1):
        vector = 2 * pixel + (half ^ (pixel >> 2 & 1))
        lanes = np.concatenate([vector * 16] + 3 * [np.full(8, -1)])
        assert count_wavefronts(lanes.reshape(1, -1), 16).item() == 1
