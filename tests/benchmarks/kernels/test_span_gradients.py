"""The kernel of a span's three gradients as machine code."""

from itertools import cycle, product

import pytest

from benchmarks.kernels import toolchain
from benchmarks.kernels.machine_code import count_opcodes, read_resources
from benchmarks.kernels.occupancy import occupancy
from benchmarks.kernels.span_gradients_report import (
    GradientsCase,
    group_accesses,
    group_wavefronts,
)
from benchmarks.kernels.toolchain import ARCHITECTURES

LAYERS = ("stage1", "stage2-first", "stage2")


def jobs():
    """Return every layer and dtype for every architecture; one of them in every run."""
    cases = product(LAYERS, ("bfloat16", "float16", "float32"), ARCHITECTURES)
    marks = cycle([()] + 62 * [pytest.mark.nightly])
    return [pytest.param(*case, marks=mark) for case, mark in zip(cases, marks, strict=False)]


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("layer, dtype, arch", jobs())
def test_compiles_without_local_memory(layer, dtype, arch):
    kernel = GradientsCase(layer, dtype).launch.kernel
    cubin = toolchain.compile(kernel, arch)
    found = read_resources(cubin)
    assert found.stack_bytes == found.local_bytes == 0
    assert found.shared_bytes == kernel.shared_bytes
    assert occupancy(arch, kernel.threads, found.registers, found.shared_bytes).blocks >= 1
    opcodes = count_opcodes(toolchain.disassemble(cubin))
    assert not {"ATOM", "ATOMG", "ATOMS", "RED", "LDL", "STL"} & set(opcodes)
    assert ("HMMA" in opcodes) == (dtype != "float32" and arch >= 80)
    if (layer, "HMMA" in opcodes) == ("stage1", True):
        assert opcodes["LDSM"] == 4 * (1 + 1) + 4 * (1 + 2), "or the model counts others"


def test_accesses_of_a_tile_and_a_group():
    """Of stage 1: 8 x 16 pixels, 7 warps that sum taps, 4 lanes of 8 bytes of a pixel."""
    case = GradientsCase("stage1", "bfloat16")
    found = [(access.opcode, access.size, access.wavefronts) for access in group_accesses(case)]
    grads, pixels = ("LDS", 8, 4 * 4 * 7 * 2), ("LDS", 8, 4 * 10 * 7 * 2)
    taps = ("STS", 8, 7 * 7 * 2)
    assert found[2:] == [grads, pixels, taps]
    fetched = sum(wavefronts for *_, wavefronts in found[:2])
    # 8 warps multiply taps by weights, 7 warps the reduced images by taps, 4 wavefronts a load.
    matrices = 4 * (8 * 4 * (1 + 1) + 7 * 4 * (1 + 2))
    sums = 7 * (4 * 4 + 4)
    expected = fetched + 7 * (32 + 80 + 14) + matrices + sums
    assert group_wavefronts(case) == expected
