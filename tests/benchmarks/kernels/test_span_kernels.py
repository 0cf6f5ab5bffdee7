"""The kernels that make their taps by a span as machine code, and the model of their accesses."""

from collections import Counter
from itertools import product

import pytest

from benchmarks.kernels import toolchain
from benchmarks.kernels.cases import DTYPES, LAYERS
from benchmarks.kernels.machine_code import count_nested, count_opcodes, read_resources
from benchmarks.kernels.occupancy import occupancy
from benchmarks.kernels.shared_memory import INACTIVE
from benchmarks.kernels.span_block import SpanBlock
from benchmarks.kernels.span_report import SpanKernelCase, all_span_cases
from benchmarks.kernels.toolchain import ARCHITECTURES

EVERY = 167
"""Of the kernels for all architectures every so many is compiled in every run, the rest nightly."""


def block_of(case, has_tensor_cores):
    itemsize = DTYPES[case.dtype].itemsize
    return SpanBlock(case.launch.kernel, LAYERS[case.layer], itemsize, has_tensor_cores)


def jobs():
    for number, (case, arch) in enumerate(product(all_span_cases(), ARCHITECTURES)):
        marks = () if number % EVERY == EVERY // 2 else pytest.mark.nightly
        name = "-".join([*vars(case).values(), f"sm_{arch}"])
        yield pytest.param(case, arch, id=name, marks=marks)


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("case, arch", list(jobs()))
def test_compiles_without_local_memory_and_fits(case, arch):
    kernel = case.launch.kernel
    cubin = toolchain.compile(kernel, arch)
    found = read_resources(cubin)
    assert found.stack_bytes == found.local_bytes == 0
    # Without tensor cores no tile has the zeros around banded matrices.
    is_smaller = arch < 80 and case.dtype != "float32"
    assert found.shared_bytes == kernel.shared_bytes or (
        is_smaller and found.shared_bytes < kernel.shared_bytes
    )
    assert occupancy(arch, kernel.threads, found.registers, found.shared_bytes).blocks >= 1
    block = block_of(case, arch >= 80)
    code = toolchain.disassemble(cubin)
    assert count_nested(code, block.rounds)["HMMA"] > 0 or not block.is_matrix
    assert not {"ATOM", "ATOMG", "ATOMS", "RED", "LDL", "STL"} & set(count_opcodes(code))


def test_every_access_is_aligned_and_lies_in_shared_memory():
    for case in all_span_cases()[::5]:
        for has_tensor_cores in (True, False):
            for access in block_of(case, has_tensor_cores).accesses():
                addresses = access.addresses[access.addresses != INACTIVE]
                assert addresses.size > 0 and not (addresses % access.size).any()
                assert addresses.min() >= 0
                assert addresses.max() + access.size <= case.launch.kernel.shared_bytes


@pytest.mark.parametrize("has_tensor_cores", [True, False])
@pytest.mark.parametrize("operator", ["span_involution2d", "span_grad_input"])
def test_every_tap_is_stored_once(operator, has_tensor_cores):
    block = block_of(SpanKernelCase("stage2", operator, "bfloat16"), has_tensor_cores)
    stored = Counter()
    for access in block.accesses():
        if access.opcode == "STS":
            places = access.addresses[access.addresses != INACTIVE]
            stored.update(place + byte for place in places.tolist() for byte in range(access.size))
    assert set(stored.values()) == {1}
    columns = block.columns if operator == "span_involution2d" else block.width
    taps = block.rows * columns * 49 * 2
    assert taps <= len(stored) <= taps * 8 // 7


WARPS, ROWS_OF_TAPS, OCTETS_OF_A_WARP = 2, 7, 8


def accesses_of(layer, operator):
    block = block_of(SpanKernelCase(layer, operator, "bfloat16"), True)
    return {access.opcode + str(access.size): access for access in block.accesses()}


@pytest.mark.parametrize("layer, lines", [("stage1", 14), ("stage2-first", 21 * 2)])
def test_taps_and_pixels_are_read_and_stored_without_conflicts(layer, lines):
    """32 lanes store to and read from 32 banks; each line of a matrix lies in four of them."""
    found = accesses_of(layer, "span_involution2d")
    assert found["STS4"].wavefronts == len(found["STS4"].addresses) * WARPS
    assert found["LDS4"].wavefronts == ROWS_OF_TAPS * OCTETS_OF_A_WARP * WARPS
    assert found["LDSM16"].wavefronts == lines * 4 * WARPS


def test_taps_of_outputs_are_read_without_conflicts():
    """A lane reads the two taps of a row that it has; in stage 1 from other banks than others."""
    block = block_of(SpanKernelCase("stage1", "span_grad_input", "bfloat16"), True)
    reads = [access for access in block.accesses() if (access.opcode, access.size) == ("LDS", 2)]
    assert len(reads) == 2
    assert all(read.wavefronts == ROWS_OF_TAPS * OCTETS_OF_A_WARP * WARPS for read in reads)


def test_loops_in_loops():
    line = "        /*0010*/                   {} ;"
    code = "\n".join(
        [".L_x_1:", line.format("FFMA R1"), ".L_x_2:", *[line.format("IMAD R1")] * 2]
        + [line.format(f"@P0 BRA `(.L_x_{label})") for label in (2, 1)]
        + [line.format("EXIT")]
    )
    assert count_nested(code, (3, 5)) == {"FFMA": 3, "IMAD": 30, "BRA": 18, "EXIT": 1}
    with pytest.raises(ValueError, match="2 loops lie in one another"):
        count_nested(code, (3,))
