"""Every CUDA kernel as machine code: what it must not do, and how little it must need."""

import re
from collections import Counter
from functools import cache
from itertools import cycle, product

import pytest

from benchmarks.kernels import toolchain
from benchmarks.kernels.bounds import is_modelled, loop_rounds
from benchmarks.kernels.cases import DTYPES, LAYERS, ODD, OPERATORS, KernelCase, all_cases
from benchmarks.kernels.machine_code import count_issued, count_opcodes, read_resources
from benchmarks.kernels.occupancy import occupancy
from benchmarks.kernels.tiled_block import TiledBlock
from benchmarks.kernels.toolchain import ARCHITECTURES, Cubin

pytestmark = pytest.mark.usefixtures("compiler")

EVERYWHERE = "stage2"
"""The layer whose kernels are compiled for every architecture; the others are for one in turn."""

EVERY = 11
"""Of the kernels of other layers, every eleventh is compiled in every run, the others nightly; no
number of dtypes, layouts, operators or architectures has the factor 11."""


@cache
def cubin_of(case: KernelCase, arch: int) -> Cubin:
    return toolchain.compile(case.launch.kernel, arch)


def jobs():
    """Every operator, dtype and layout for every architecture, and every kernel for one of them."""
    full = [case for case in all_cases() if case.layer == EVERYWHERE]
    others = {case.launch.kernel: case for case in all_cases() if case.layer != EVERYWHERE}
    in_turn = list(zip(others.values(), cycle(ARCHITECTURES)))
    in_every_run = {*zip(full, cycle(ARCHITECTURES)), *in_turn[::EVERY]}
    for job in [*product(full, ARCHITECTURES), *in_turn]:
        marks = () if job in in_every_run else pytest.mark.nightly
        case, arch = job
        yield pytest.param(*job, id="-".join([*vars(case).values(), f"sm_{arch}"]), marks=marks)


@pytest.mark.parametrize(("case", "arch"), list(jobs()))
def test_compiles_without_local_memory_and_fits(case, arch):
    kernel, cubin = case.launch.kernel, cubin_of(case, arch)
    found = read_resources(cubin)
    assert found.stack_bytes == found.local_bytes == 0
    assert found.shared_bytes == kernel.shared_bytes
    fits = occupancy(arch, kernel.threads, found.registers, found.shared_bytes)
    assert fits.blocks >= 1
    if is_modelled(case):
        disassembly = toolchain.disassemble(cubin)
        if case.layer == EVERYWHERE:
            assert_loads_vectors(disassembly)
        if arch >= 80:
            assert_accesses_as_modelled(case, disassembly)


def assert_loads_vectors(disassembly):
    """Global loads are of 16 bytes, except at the edge of a tile; nothing is atomic or a call."""
    loads = re.findall(r"\s(?:LDG|LDGSTS|LD)((?:\.\w+)*)\s", disassembly)
    assert sum("128" in modifiers.split(".") for modifiers in loads) >= 0.9 * len(loads) > 0
    opcodes = count_opcodes(disassembly)
    assert not {"ATOM", "ATOMG", "ATOMS", "RED", "LDL", "STL"} & set(opcodes)
    # The compiler also writes jumps to labels of the kernel as CALL; a call goes to a function.
    assert not re.search(r"\sCALL\.[^`]*`\((?!\.L_)", disassembly), "divides where it should not"


def assert_accesses_as_modelled(case, disassembly):
    """The machine code has the accesses to shared memory whose addresses the model simulates."""
    kernel, layer, itemsize = case.launch.kernel, LAYERS[case.layer], DTYPES[case.dtype].itemsize
    # The compiler pads copies with loads that never execute.
    code = re.sub(r"@!PT LDS RZ, \[RZ\]", "NOP", disassembly)
    issued, loops = count_issued(code, loop_rounds(kernel))
    modelled = Counter()
    # At stride 2, pixels with odd numbers meet all rows of taps that the machine code has.
    phases = (1, 1) if "grad_input" in case.operator and layer.stride == 2 else (0, 0)
    for access in TiledBlock(kernel, layer, itemsize, 0, phases).accesses():
        modelled[access.opcode] += len(access.addresses)
    assert issued["STS"] == modelled["STS"]
    if loops == 0:
        assert (issued["LDS"], issued["LDGSTS"]) == (modelled["LDS"], modelled["LDGSTS"])
    elif layer.stride == 1 and layer.kernel_size == 7:
        assert issued["LDS"] == modelled["LDS"]
    # The machine code of other loops has rounds, or parts of a round, that are not executed.


ORIGINAL_INSTRUCTIONS = {"involution2d_grad_input": 5.9, "involution2d_grad_weight": 8.5}
ORIGINAL_LOADS = 2.0
"""Per multiply-add, of the original's kernels compiled for sm_80 in float32."""

MOST_INSTRUCTIONS = {name: count / 3 for name, count in ORIGINAL_INSTRUCTIONS.items()}
MOST_INSTRUCTIONS["involution2d"] = 2.0
# The loop's last round fetches nothing, but `count_issued` counts its fetch too.
MOST_INSTRUCTIONS["involution2d_grad_input"] += 0.07
MOST_LOADS = dict.fromkeys(OPERATORS, ORIGINAL_LOADS / 3) | {"involution2d": 0.25}


@pytest.mark.parametrize("arch", [80, 90])
@pytest.mark.parametrize("operator", OPERATORS)
def test_instructions_and_loads_per_multiply_add(operator, arch):
    """The gradients loop, over the window's rows and over channels; the forward pass does not."""
    case = KernelCase("stage2", operator, "float32", "channels_last")
    kernel, layer = case.launch.kernel, LAYERS[case.layer]
    issued, loops = count_issued(toolchain.disassemble(cubin_of(case, arch)), loop_rounds(kernel))
    assert loops == (operator != "involution2d")
    tile = dict(kernel.defines)
    pixels = tile["TILE_ROWS"] * tile["TILE_COLUMNS"]
    expected = pixels * layer.group_channels * layer.window.area / kernel.threads
    assert issued["FFMA"] == expected, "or the ratios below are no evidence"
    assert issued.total() / expected <= MOST_INSTRUCTIONS[operator]
    assert issued["LDG"] + issued["LDGSTS"] + issued["LD"] <= MOST_LOADS[operator] * expected
    assert KernelCase("stage1", operator, "float32", "channels_last").launch.kernel == kernel


@pytest.mark.parametrize("layer", [EVERYWHERE, ODD.name])
@pytest.mark.parametrize("operator", OPERATORS)
def test_subnormal_numbers_are_not_flushed(operator, layer):
    """CuPy asks the compiler to flush them."""
    code = toolchain.disassemble(
        cubin_of(KernelCase(layer, operator, "float32", "channels_last"), 80)
    )
    assert "FFMA " in code
    assert "FFMA.FTZ" not in code
