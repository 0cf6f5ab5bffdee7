"""Theoretical occupancy against hand numbers and against NVIDIA's own formulas."""

import importlib.util
import itertools
import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks.kernels.occupancy import MULTIPROCESSORS, REGISTERS, occupancy
from benchmarks.kernels.toolchain import ARCHITECTURES


@pytest.mark.parametrize(
    ("arch", "threads", "registers", "shared", "expected"),
    [
        # 64 x 32 = 2048 registers a warp: 8 warps a partition, 32 in all, 8 blocks of 4.
        (80, 128, 64, 0, (8, 32, 0.5, "registers")),
        # 65 rounds to 72 x 32 = 2304: 7 warps a partition, 28 in all.
        (80, 128, 65, 0, (7, 28, 28 / 64, "registers")),
        # (48 + 1) KiB into 164 KiB: 3 blocks.
        (80, 128, 32, 48 * 1024, (3, 12, 12 / 64, "shared")),
        # The same without the reserved KiB on sm_75, of 64 KiB: 1 block.
        (75, 128, 32, 48 * 1024, (1, 4, 4 / 32, "shared")),
        (75, 128, 32, 32 * 1024, (2, 8, 8 / 32, "shared")),
        # (32 + 1) KiB into 100 KiB: 3 blocks.
        (86, 128, 32, 32 * 1024, (3, 12, 12 / 48, "shared")),
        (89, 32, 16, 0, (24, 24, 0.5, "blocks")),
        (86, 32, 16, 0, (16, 16, 16 / 48, "blocks")),
        (90, 256, 32, 0, (8, 64, 1.0, "warps")),
        # 100 threads are 4 warps.
        (120, 100, 40, 0, (12, 48, 1.0, "warps")),
        (100, 1024, 65, 0, (0, 0, 0.0, "registers")),
    ],
)
def test_against_hand_numbers(arch, threads, registers, shared, expected):
    found = occupancy(arch, threads, registers, shared)
    assert (found.blocks, found.warps, found.share, found.limit) == expected


def test_every_architecture_has_limits():
    assert tuple(MULTIPROCESSORS) == ARCHITECTURES


PROGRAM = """
#include <cstdio>
#include "cuda_occupancy.h"

int main() {
  int major, minor, threads, registers;
  unsigned long shared, per_sm, reserved;
  int max_threads;
  while (scanf("%d %d %d %d %lu %lu %lu %d", &major, &minor, &threads, &registers, &shared,
               &per_sm, &reserved, &max_threads) == 8) {
    cudaOccDeviceProp device;
    device.computeMajor = major;
    device.computeMinor = minor;
    device.maxThreadsPerBlock = 1024;
    device.maxThreadsPerMultiprocessor = max_threads;
    device.regsPerBlock = device.regsPerMultiprocessor = 65536;
    device.warpSize = 32;
    device.sharedMemPerBlock = 48 * 1024;
    device.sharedMemPerMultiprocessor = per_sm;
    device.numSms = 1;
    device.sharedMemPerBlockOptin = per_sm - reserved;
    device.reservedSharedMemPerBlock = reserved;
    cudaOccFuncAttributes kernel;
    kernel.maxThreadsPerBlock = 1024;
    kernel.numRegs = registers;
    kernel.sharedSizeBytes = shared;
    kernel.partitionedGCConfig = PARTITIONED_GC_OFF;
    kernel.shmemLimitConfig = FUNC_SHMEM_LIMIT_DEFAULT;
    kernel.maxDynamicSharedSizeBytes = 0;
    kernel.numBlockBarriers = 1;
    cudaOccDeviceState state;
    state.carveoutConfig = SHAREDMEM_CARVEOUT_MAX_SHARED;
    cudaOccResult result;
    int status = cudaOccMaxActiveBlocksPerMultiprocessor(&result, &device, &kernel, &state,
                                                         threads, 0);
    printf("%d\\n", status ? -status : result.activeBlocksPerMultiprocessor);
  }
}
"""


def nvidias_header():
    spec = importlib.util.find_spec("triton")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "backends" / "nvidia" / "include" / "cuda_occupancy.h"
    return path if path.exists() else None


@pytest.mark.skipif(nvidias_header() is None, reason="triton's wheel has no cuda_occupancy.h")
@pytest.mark.skipif(shutil.which("c++") is None, reason="there is no C++ compiler")
def test_against_nvidias_own_formulas(tmp_path):
    source, program = tmp_path / "occupancy.cpp", tmp_path / "occupancy"
    source.write_text(PROGRAM)
    command = ["c++", "-w", "-I", str(nvidias_header().parent), str(source), "-o", str(program)]
    subprocess.run(command, check=True)
    kernels = list(
        itertools.product(
            MULTIPROCESSORS,
            (32, 64, 96, 128, 160, 256, 512, 1024),
            (16, 24, 32, 40, 47, 63, 64, 65, 72, 96, 128, 168, 255),
            (0, 100, 1024, 5000, 16 * 1024, 24577, 47360, 48 * 1024),
        )
    )
    lines = [
        f"{arch // 10} {arch % 10} {threads} {registers} {shared} {offer.shared_bytes} "
        f"{offer.reserved_bytes} {32 * offer.warps}"
        for arch, threads, registers, shared in kernels
        for offer in [MULTIPROCESSORS[arch]]
    ]
    done = subprocess.run(
        [str(program)], input="\n".join(lines), capture_output=True, text=True, check=True
    )
    expected = [int(line) for line in done.stdout.split()]
    assert len(expected) == len(kernels)
    found = [occupancy(*kernel).blocks for kernel in kernels]
    wrong = [
        (kernel, own, theirs)
        for kernel, own, theirs in zip(kernels, found, expected, strict=True)
        if own != theirs
    ]
    assert wrong == []
    assert max(expected) == 32 and REGISTERS == 65536
