"""The time that a kernel is expected to take: that of its slowest resource, below its peak."""

from collections.abc import Mapping

from benchmarks.gpus import Gpu

EFFICIENCY = {"memory": 0.8, "issue": 0.6, "fma": 0.6, "shared": 0.6, "tensor": 0.5}
"""Reachable share of each peak, as in the project's note on the GPU path."""
PRODUCTS_PER_CYCLE = 1024
"""Multiply-adds of tensor cores in 16 bits, per multiprocessor, by `mma.sync` (A100 whitepaper)."""
PRODUCTS_OF_HMMA = 16 * 8 * 16
"""Multiply-adds of a warp's instruction."""


def expected(times: Mapping[str, float]) -> float:
    """Return the time of the slowest resource at its reachable share of the peak."""
    return max(reachable(times).values())


def binds(times: Mapping[str, float]) -> str:
    """Return the name of that resource."""
    found = reachable(times)
    return max(found, key=lambda name: found[name])


def reachable(times: Mapping[str, float]) -> dict[str, float]:
    """Return the time of each resource at its reachable share of the peak."""
    return {name: time / EFFICIENCY[name] for name, time in times.items()}


def tensor_microseconds(instructions: float, gpu: Gpu) -> float:
    """Return the least time of tensor cores for the HMMA instructions of all warps."""
    cycles = gpu.multiprocessors * gpu.clock
    return 1e6 * instructions * PRODUCTS_OF_HMMA / (PRODUCTS_PER_CYCLE * cycles)
