"""Faults planted in the kernels that make their taps: the emulator or the values show each."""

import host_backend
import pytest
import torch
from mutated_kernels import mutated
from span_cases import assert_accurate, make_span_case

from rednet.ops.broken_backend import BackendFailure
from rednet.ops.cuda.source import FOLDER, source

FILES = ("span_forward.cuh", "span_grad_input.cuh")
BARRIERS = [
    (name, number)
    for name in FILES
    for number in range((FOLDER / name).read_text(encoding="utf-8").count("__syncthreads();"))
]
# The changed file, the old text and the new text; "bfloat16" where tensor cores make the taps.
FAULTS = {
    "a wait is missing": ("span_forward.cuh", "    wait_for_copies();\n", ""),
    "a wait is missing in the gradient": ("span_grad_input.cuh", "    wait_for_copies();\n", ""),
    "no bias": ("span_taps.cuh", "return bias ?", "return false ?"),
    "the bias of another group": ("span_taps.cuh", "bias += group * K * K", "bias += 0"),
    "the weight of another group": ("span_taps.cuh", "group * K * K * problem", "0 * problem"),
    "channels are left out": ("span_product.cuh", "int d = 0; d < DEPTH", "int d = 4; d < DEPTH"),
    "no halo": ("span_product.cuh", "Taps::REACH - i * Taps::DISTANCE", "Taps::REACH"),
}
MATRIX_FAULTS = {
    "channels of one operand in another order": (
        *("span_matrix.cuh", "[i % 2 * 2 + row % 2]"),
        "[row % 2 * 2 + i % 2]",
    ),
    "a row of taps is not kept": ("span_places.cuh", "(rows >> i & 1)", "(rows >> i & i)"),
    "the last octet is left out": (
        *("span_matrix.cuh", "BATCHES) make_batch"),
        "BATCHES - 1) make_batch",
    ),
    "a pixel of another row": ("span_places.cuh", "Taps::REACH + line", "Taps::REACH + 1 + line"),
    "pixels in another order": ("bands.cuh", "lane % 2 * 4", "lane % 2 * 2"),
    "taps of another pixel": ("bands.cuh", "(member - number) & 3", "(member + number) & 3"),
    "taps that begin too low": (
        "bands.cuh",
        "(number - member + 3) / 4",
        "(number - member + 4) / 4",
    ),
    "channels of another lane": (
        "bands.cuh",
        "select_bytes(high, low, own)",
        "select_bytes(low, high, own)",
    ),
    "a tap for another one": ("span_taps.cuh", "tap % 4 * 2 + tap / 4", "tap"),
    "a column is skipped": ("window_bands.cuh", "column / D < K", "column / D < K - 1"),
    "an output is skipped": ("covering_bands.cuh", "wanted <= REACH", "wanted < REACH"),
}


def is_right(emulator, dtype, text, seed=0):
    """Return whether both kernels, compiled from a text, give the right values."""
    case = make_span_case((9, 11), 2, (7, 1, 3, 1), 16, group_width=32, dtype=dtype)
    try:
        with host_backend.on_host(lambda launch: emulator.run(launch, text, seed)):
            assert_accurate(case)
    except AssertionError:
        return False
    except BackendFailure as failure:
        if isinstance(failure.__cause__, emulator.EmulationError):
            return False
        raise
    return True


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_without_faults(emulator, dtype):
    text = source(emulator.DEVICE)
    assert all(is_right(emulator, dtype, text, seed) for seed in range(2))


def barriers():
    """Each barrier with each way to make taps: one in every run, all nightly."""
    for name, number in BARRIERS:
        for dtype in (torch.float32, torch.bfloat16):
            marks = () if (number, dtype) == (0, torch.float32) else pytest.mark.nightly
            yield pytest.param(name, number, dtype, marks=marks)


@pytest.mark.parametrize("name, number, dtype", list(barriers()))
def test_a_missing_barrier(emulator, name, number, dtype):
    text = mutated(source(emulator.DEVICE), name, "__syncthreads();", "", number)
    assert not all(is_right(emulator, dtype, text, seed) for seed in range(8))


def faults():
    """Each fault of a way to make taps: every fifth in every run, all nightly."""
    for dtype, changes in [(torch.float32, FAULTS), (torch.bfloat16, MATRIX_FAULTS)]:
        for number, change in enumerate(changes.values()):
            marks = () if number % 5 == 1 else pytest.mark.nightly
            yield pytest.param(dtype, change, marks=marks)


@pytest.mark.parametrize("dtype, change", list(faults()))
def test_a_fault(emulator, dtype, change):
    assert not is_right(emulator, dtype, mutated(source(emulator.DEVICE), *change))
