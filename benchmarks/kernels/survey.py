"""Compiles many kernels at once and turns what they consist of into flat records."""

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from math import prod
from typing import Any

from benchmarks.gpus import GPUS, Gpu
from benchmarks.kernels import toolchain
from benchmarks.kernels.cases import LAYERS, ODD, Case
from benchmarks.kernels.figures import Counts, Figures, read_figures
from benchmarks.kernels.occupancy import WARP, occupancy
from benchmarks.kernels.roofline import (
    bytes_per_image,
    multiply_adds_per_image,
    roofline,
)
from rednet.ops.cuda.plan import Kernel, Launch

Record = dict[str, Any]
Launches = Mapping[Case, Launch]
Found = Mapping[tuple[Kernel, int], Figures]

ORIGINAL = {
    "involution2d": {"instructions": 5.9, "global_loads": 2.0},
    "involution2d_grad_input": {"instructions": 5.9, "global_loads": 2.0},
    "involution2d_grad_weight": {"instructions": 8.5, "global_loads": 2.0},
}
"""Per multiply-add, of the original's `involution_cuda.py` compiled for sm_80 in float32."""

PER_MULTIPLY_ADD = ("instructions", "global_loads", "shared_loads")


def examine(kernel: Kernel, arch: int) -> Figures:
    """Compiles, disassembles and counts."""
    return read_figures(toolchain.compile(kernel, arch), kernel.threads)


def examine_all(
    jobs: Iterable[tuple[Kernel, int]],
    processes: int,
    on_done: Callable[[], object] = lambda: None,
) -> Found:
    """What every kernel consists of on its architecture.

    Args:
        jobs: Kernels and architectures.
        processes: That compile side by side.
        on_done: Called after every job.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, _one_thread) as pool:
        futures = {job: pool.submit(examine, *job) for job in jobs}
        found = {}
        try:
            for job, future in futures.items():
                found[job] = future.result()
                on_done()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return found


def _one_thread() -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def kernel_records(launches: Launches, found: Found) -> Iterator[Record]:
    """A record for every kernel and architecture, in the order of the launches."""
    users: dict[Kernel, list[Case]] = {}
    for case, launch in launches.items():
        users.setdefault(launch.kernel, []).append(case)
    for kernel, cases in users.items():
        for (own, arch), figures in found.items():
            if own == kernel:
                yield _kernel_record(cases, kernel, arch, figures)


def _kernel_record(cases: list[Case], kernel: Kernel, arch: int, figures: Figures) -> Record:
    fits = occupancy(arch, kernel.threads, figures.registers, figures.shared_bytes)
    counts = figures.counts if figures.weighed is None else figures.weighed
    return {
        "layers": " ".join(case.layer for case in cases),
        "operator": cases[0].operator,
        "dtype": cases[0].dtype,
        "layout": cases[0].layout,
        "arch": arch,
        "threads": kernel.threads,
        "registers": figures.registers,
        "stack_bytes": figures.stack_bytes,
        "local_bytes": figures.local_bytes,
        "shared_bytes": figures.shared_bytes,
        "occupancy": fits.share,
        "blocks": fits.blocks,
        "limit": fits.limit,
        "basis": figures.basis,
        **{f"{name}_per_multiply_add": figures.per_multiply_add(name) for name in PER_MULTIPLY_ADD},
        **_renamed(counts),
        "branches": figures.branches,
        "loops": _loops(figures),
    }


def _renamed(counts: Counts) -> Record:
    """Loads and stores of local memory are what the registers spill."""
    names = {"local_loads": "spill_loads", "local_stores": "spill_stores"}
    return {names.get(name, name): number for name, number in counts.items()}


def _loops(figures: Figures) -> str | None:
    """Rounds x instructions of every loop."""
    loops = [
        ("?" if loop.rounds is None else f"{loop.rounds:.4g}", loop.counts["instructions"])
        for loop in figures.loops
    ]
    return " ".join(f"{rounds}x{instructions:g}" for rounds, instructions in loops) or None


def roofline_records(launches: Launches, found: Found) -> Iterator[Record]:
    """A record for every GPU and operator on a layer of the network in channels_last."""
    for gpu in GPUS:
        for case, launch in launches.items():
            if case.layout == "channels_last" and case.layer != ODD.name:
                figures = found.get((launch.kernel, gpu.arch))
                yield _roofline_record(gpu, case, _instructions(launch, figures))


def _instructions(launch: Launch, figures: Figures | None) -> float | None:
    """That all warps of a launch are issued."""
    if figures is None or figures.weighed is None:
        return None
    warps = -(-launch.kernel.threads // WARP)
    return prod(launch.grid) * warps * figures.weighed["instructions"]


def _roofline_record(gpu: Gpu, case: Case, instructions: float | None) -> Record:
    layer = LAYERS[case.layer]
    line = roofline(layer, case.dtype, gpu, instructions)
    return {
        "gpu": gpu.name,
        "layer": case.layer,
        "operator": case.operator,
        "dtype": case.dtype,
        "channels": layer.channels,
        "size": layer.size,
        "kernel_size": layer.kernel_size,
        "stride": layer.window.stride,
        "bytes_per_image": bytes_per_image(layer, case.dtype),
        "multiply_adds_per_image": multiply_adds_per_image(layer),
        "memory_us": 1e6 * line.memory,
        "arithmetic_us": 1e6 * line.arithmetic,
        "roofline_us": 1e6 * line.seconds,
        "limit": line.limit,
        "issue_estimate_us": None if line.issue is None else 1e6 * line.issue,
    }
