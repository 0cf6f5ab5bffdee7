"""The model of what binds, against numbers that were counted by hand."""

from collections import Counter

import pytest

from benchmarks.gpus import GPUS, Gpu
from benchmarks.kernels.bounds import Work, bound_record, bound_records, is_modelled, loop_rounds
from benchmarks.kernels.cases import DTYPES, LAYERS, KernelCase, all_cases
from benchmarks.kernels.shared_memory import INACTIVE
from benchmarks.kernels.tiled_block import TiledBlock, wavefronts_per_block

H100 = next(gpu for gpu in GPUS if gpu.name == "H100 SXM")


def case_of(layer, operator="involution2d", dtype="bfloat16"):
    return KernelCase(layer, operator, dtype, "channels_last")


def accesses_of(case, itemsize):
    block = TiledBlock(case.launch.kernel, LAYERS[case.layer], itemsize)
    return [
        (access.opcode, access.size, len(access.addresses), access.wavefronts)
        for access in block.accesses()
    ]


def test_microseconds_of_each_resource():
    gpu = Gpu("", "", 90, bandwidth=1e9, flops=64e6, flops64=32e6, multiprocessors=2, clock=1e6)
    work = Work(bytes_moved=3000, instructions=16, single=5, double=0, wavefronts=14, products=4)
    least = {"memory": 3, "issue": 2, "fma": 5, "shared": 7, "tensor": 4}  # 2 cycles a product
    assert work.microseconds(gpu) == least
    assert Work(0, 0, single=1, double=4, wavefronts=0).microseconds(gpu)["fma"] == 8


@pytest.mark.parametrize(
    ("layer", "dtype", "elements", "itemsize"),
    [
        ("stage1", "bfloat16", 64 * 56 * 56 + 4 * 49 * 56 * 56 + 64 * 56 * 56, 2),
        ("stage2-first", "float32", 128 * 56 * 56 + 8 * 49 * 28 * 28 + 128 * 28 * 28, 4),
        ("stem", "float64", 32 * 112 * 112 + 2 * 9 * 112 * 112 + 32 * 112 * 112, 8),
    ],
)
def test_each_tensor_crosses_memory_once(layer, dtype, elements, itemsize):
    record = bound_record(case_of(layer, dtype=dtype), H100, {"FFMA": 1})
    assert record["bytes_moved"] == elements * itemsize
    assert record["memory_us"] == pytest.approx(elements * itemsize / 3350e3)


def test_a_layer_from_end_to_end():
    """The forward pass of stage 1: 4 x 7 tiles of 16 x 8 pixels, 4 groups, 2 warps a block."""
    issued = {"HMMA": 56, "IMAD": 210, "PRMT": 112, "MOVM": 16, "SHFL": 8, "others": 598}
    record = bound_record(case_of("stage1"), H100, issued)
    blocks = 4 * 7 * 4
    assert record["instructions"] == blocks * 2 * 1000
    assert record["single"] == blocks * 2 * 210
    assert record["products"] == blocks * 2 * 56
    assert record["wavefronts"] == blocks * (700 + 2 * 24)  # 692 of the first group: next test
    assert record["memory_us"] == pytest.approx(0.6066, abs=1e-4)
    assert record["issue_us"] == pytest.approx(0.2143, abs=1e-4)
    assert record["fma_us"] == pytest.approx(0.0450, abs=1e-4)
    assert record["shared_us"] == pytest.approx(0.3205, abs=1e-4)
    assert record["tensor_us"] == pytest.approx(0.0960, abs=1e-4)
    assert record["binds"] == "memory"


def test_accesses_of_the_forward_pass():
    """Of a block of stage 1 in bfloat16; a pixel's taps take 7 vectors, its channels 2."""
    fetched_taps = ("LDGSTS", 16, 4 * 4, 8 * 14)  # 8 rows of 112 vectors, 14 x 8 lanes
    fetched_pixels = ("LDGSTS", 16, 6 * 2, 14 * 6)  # 14 rows of 48 vectors, 6 x 8 lanes
    pixels = ("LDSM", 16, 14, 14 * 2 * 4)  # 2 warps, 4 matrices, no conflict
    first, second = ("LDS", 2, 7 * 8, 160), ("LDS", 2, 7 * 8, 224)  # taps of 8 results, by row
    found = accesses_of(case_of("stage1"), 2)
    assert found == [fetched_taps, fetched_pixels, pixels, first, second]


def test_accesses_of_the_forward_pass_in_float32():
    """A pixel's taps take 13 vectors, its channels 4, of which a thread reads one at a time."""
    fetched_taps = ("LDGSTS", 16, 7 * 2, 8 * 26)
    fetched_pixels = ("LDGSTS", 16, 12, 14 * 11)
    pixels = ("LDS", 16, 7 * 10, 7 * 10 * 4 * 4)  # 4 warps, 4 quarters, no conflict
    taps = ("LDS", 4, 4 * 49, 4 * 49 * 4)
    found = accesses_of(case_of("stage1", dtype="float32"), 4)
    assert found == [fetched_taps, fetched_pixels, pixels, taps]


def test_pixels_do_not_conflict_at_stride_2():
    """In float32 half a pixel lies between rows, in 16 bits even pixels precede odd ones."""
    _, _, pixels, _ = accesses_of(case_of("stage2-first", dtype="float32"), 4)
    assert pixels == ("LDS", 16, 7 * 13, 7 * 13 * 2 * 4)
    _, _, pixels, _, _ = accesses_of(case_of("stage2-first"), 2)
    assert pixels == ("LDSM", 16, 21 * 2, 21 * 2 * 2 * 4)


def test_the_input_gradient_reads_two_vectors_of_a_pixel_in_float32():
    """Four pixels of a quarter-warp, 64 bytes each, begin in banks 0 and 16 only."""
    accesses = accesses_of(case_of("stage1", "involution2d_grad_input", "float32"), 4)
    pixels = [access for access in accesses if access[:2] == ("LDS", 16)]
    assert pixels == 7 * [("LDS", 16, 2 * 10, 2 * 10 * 2 * 4 * 2)]


def test_the_weight_gradient_is_stored_with_conflicts():
    """The 4 strips of a row share two groups of banks, the 8 rows begin 4 banks apart."""
    accesses = accesses_of(case_of("stage1", "involution2d_grad_weight", "float32"), 4)
    assert ("STS", 4, 4 * 7, 4 * 7 * 7 * 4) in accesses


def test_phases_of_the_input_gradient_are_averaged():
    """At stride 2 the phases meet 4 or 3 of 7 rows of taps."""
    case = case_of("stage2-first", "involution2d_grad_input")
    kernel, layer = case.launch.kernel, LAYERS[case.layer]
    assert loop_rounds(kernel) == 3.5
    loads = [
        sum(len(access.addresses) for access in block.accesses() if access.size == 2)
        for phases in ((0, 0), (0, 1), (1, 0), (1, 1))
        for block in [TiledBlock(kernel, layer, 2, 0, phases)]
    ]
    assert sorted(loads) == [3 * 16, 3 * 16, 4 * 16, 4 * 16]  # two taps of 8 results a row
    assert wavefronts_per_block(kernel, layer, 2) == 528


def test_every_access_is_aligned_and_lies_in_shared_memory():
    for case in filter(is_modelled, all_cases()):
        kernel, layer = case.launch.kernel, LAYERS[case.layer]
        for access in TiledBlock(kernel, layer, DTYPES[case.dtype].itemsize).accesses():
            addresses = access.addresses[access.addresses != INACTIVE]
            assert addresses.size > 0 and not (addresses % access.size).any()
            assert addresses.min() >= 0 and addresses.max() + access.size <= kernel.shared_bytes


def test_every_kernel_has_rounds():
    assert all(loop_rounds(case.launch.kernel) > 0 for case in all_cases())


def test_only_tiled_kernels_of_channels_last_tensors_are_modelled():
    cases = [
        case_of("stage1"),
        case_of("odd"),
        KernelCase("stage1", "involution2d", "bfloat16", "contiguous"),
    ]
    assert [is_modelled(case) for case in cases] == [True, False, False]
    issued = {(case.launch.kernel, 90): Counter(FFMA=1) for case in cases}
    found = [(row["layer"], row["gpu"]) for row in bound_records(cases, issued)]
    assert found == [("stage1", "H100 SXM"), ("stage1", "H200 SXM")]
