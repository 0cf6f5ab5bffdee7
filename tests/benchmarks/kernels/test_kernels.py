"""Every CUDA kernel as machine code: what it must not do, and how little it must take."""

from functools import cache
from itertools import cycle, product

import pytest

from benchmarks.kernels import toolchain
from benchmarks.kernels.cases import DTYPES, LAYERS, ODD, OPERATORS, Case, all_cases
from benchmarks.kernels.figures import Figures, read_figures, read_resources
from benchmarks.kernels.occupancy import occupancy
from benchmarks.kernels.survey import ORIGINAL
from benchmarks.kernels.toolchain import ARCHITECTURES, Cubin

pytestmark = pytest.mark.usefixtures("compiler")

EVERYWHERE = "stage2"
"""The layer whose kernels are compiled for every architecture; the others are for one in turn."""

QUICK = (80, 90)
"""Architectures of the tests that are not slow."""


@cache
def cubin_of(case: Case, arch: int) -> Cubin:
    return toolchain.compile(case.launch.kernel, arch)


@cache
def figures_of(case: Case, arch: int) -> Figures:
    return read_figures(cubin_of(case, arch), case.launch.kernel.threads)


def jobs():
    """Every operator, dtype and layout for every architecture, and every kernel for one of them."""
    full = [case for case in all_cases() if case.layer == EVERYWHERE]
    others = {case.launch.kernel: case for case in all_cases() if case.layer != EVERYWHERE}
    pairs = [*product(full, ARCHITECTURES), *zip(others.values(), cycle(ARCHITECTURES))]
    return [
        pytest.param(
            *(case, arch),
            id="-".join([*vars(case).values(), f"sm_{arch}"]),
            marks=() if case.layer == EVERYWHERE and arch in QUICK else pytest.mark.slow,
        )
        for case, arch in pairs
    ]


@pytest.mark.parametrize(("case", "arch"), jobs())
def test_compiles_without_local_memory_and_fits(case, arch):
    kernel, found = case.launch.kernel, read_resources(cubin_of(case, arch))
    assert found.stack_bytes == found.local_bytes == 0
    assert found.shared_bytes == kernel.shared_bytes
    fits = occupancy(arch, kernel.threads, found.registers, found.shared_bytes)
    assert fits.blocks >= 1


FAST = [Case(layer, operator, "float32", "channels_last") for layer in ("stage1", "stage2")
        for operator in OPERATORS]  # fmt: skip


@pytest.mark.parametrize("arch", QUICK)
@pytest.mark.parametrize("case", FAST, ids=lambda case: f"{case.layer}-{case.operator}")
def test_targets_of_the_fast_path(case, arch):
    figures = figures_of(case, arch)
    assert figures.basis in ("straight", "walked"), "or the ratios below are no evidence"
    original = ORIGINAL[case.operator]
    if case.operator == "involution2d":
        instructions, loads = 2.0, 0.25
    else:
        instructions, loads = original["instructions"] / 3, original["global_loads"] / 3
    assert figures.per_multiply_add("global_loads") <= loads
    assert figures.per_multiply_add("instructions") <= instructions


@pytest.mark.slow
@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("operator", OPERATORS)
def test_vector_loads_of_the_fast_path(operator, dtype, arch):
    """16 bytes at once, but for what is at the edge of a tile."""
    counts = figures_of(Case(EVERYWHERE, operator, dtype, "channels_last"), arch).counts
    assert counts["global_loads_16"] >= 0.9 * counts["global_loads"] > 0
    assert counts["atomics"] == 0
    assert counts["calls"] == 0, "divides where it should not"
    assert counts["local_loads"] == counts["local_stores"] == 0


def test_multiply_adds_are_those_of_the_tile():
    """What the walk counts is what a block of the forward kernel has to compute."""
    case = Case("stage2", "involution2d", "float32", "channels_last")
    kernel, layer = case.launch.kernel, LAYERS["stage2"]
    tile = dict(kernel.defines)
    pixels = tile["TILE_ROWS"] * tile["TILE_COLUMNS"]
    expected = pixels * layer.group_channels * layer.window.area / kernel.threads
    for arch in (75, 90):
        assert figures_of(case, arch).weighed["multiply_adds"] == expected


@pytest.mark.parametrize("operator", OPERATORS)
def test_subnormal_numbers_are_not_flushed(operator):
    """CuPy asks the compiler to."""
    for layer in (EVERYWHERE, ODD.name):
        code = toolchain.disassemble(
            cubin_of(Case(layer, operator, "float32", "channels_last"), 80)
        )
        assert "FFMA " in code
        assert "FFMA.FTZ" not in code
