"""What binds the kernel of a span's three gradients, against stored kernels.

python -m benchmarks.kernels.span_gradients_report writes `span_gradients.csv`; no GPU is needed.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice, product
from math import prod
from pathlib import Path

import numpy as np
import torch

from benchmarks.gpus import GPUS, Gpu
from benchmarks.kernels import toolchain
from benchmarks.kernels.bounds import SINGLE, Work, loop_rounds, work_of
from benchmarks.kernels.cases import DTYPES, LAYERS, KernelCase
from benchmarks.kernels.expected_time import EFFICIENCY, binds, expected, tensor_microseconds
from benchmarks.kernels.machine_code import (
    count_issued,
    count_opcodes,
    find_loops,
    read_resources,
)
from benchmarks.kernels.occupancy import WARP, occupancy
from benchmarks.kernels.shared_memory import Access
from benchmarks.kernels.span_report import BATCH
from benchmarks.kernels.tiled_block import TiledBlock
from benchmarks.report import Record, write_csv
from rednet.ops.cuda.plan import Kernel, Launch
from rednet.ops.cuda.span_gradients_plan import plan_span_gradients, unavailable_reason
from rednet.ops.span_sizes import SpanSizes


@dataclass(frozen=True)
class GradientsCase:
    """The kernel on one channels_last image of a layer, in 16 bits."""

    layer: str
    dtype: str

    @property
    def depth(self) -> int:
        """Reduced channels D."""
        return LAYERS[self.layer].channels // 4

    @property
    def sizes(self) -> SpanSizes:
        """Sizes of the layer."""
        layer = LAYERS[self.layer]
        groups = layer.channels // layer.group_channels
        return SpanSizes(layer.channels, groups, self.depth, layer.window)

    @property
    def launch(self) -> Launch:
        """The launch that is planned."""
        layer, dtype = LAYERS[self.layer], DTYPES[self.dtype]
        shapes = layer.output_shape, layer.input_shape, (self.depth, *layer.output_shape[1:])
        grad, input, reduced = (
            torch.empty(1, *shape, dtype=dtype).to(memory_format=torch.channels_last)
            for shape in shapes
        )
        weight = torch.empty(layer.weight_shape[0], self.depth, 1, 1, dtype=dtype)
        return plan_span_gradients((grad, input, reduced), weight, layer.window)[0]


def all_gradients_cases() -> list[GradientsCase]:
    """Return the layers of RedNet-50 that the kernel is for, in both 16-bit dtypes."""
    cases = [GradientsCase(*names) for names in product(LAYERS, ("bfloat16", "float16"))]
    return [
        case
        for case in cases
        if LAYERS[case.layer].kernel_size == 7
        and unavailable_reason(case.sizes, DTYPES[case.dtype], ()) is None
    ]


def tile_instructions(kernel: Kernel, disassembly: str) -> Counter[str]:
    """Count what a thread issues for a tile, by opcode; an idle warp counts as a working one."""
    macros = {name: int(value) for name, value in kernel.defines if name != "STORAGE"}
    lines, loops = find_loops(disassembly)
    tile = max(loops, key=lambda loop: loop[1] - loop[0])
    rounds = {
        (start, end): _rounds(set().union(*lines[start:end]), macros, (start, end) == tile)
        for start, end in loops
    }
    total: Counter[str] = Counter()
    for number in range(*tile):
        times = prod(each for (a, b), each in rounds.items() if a <= number < b)
        for opcode, count in lines[number].items():
            total[opcode] += count * times
    return total


def _rounds(body: set[str], macros: dict[str, int], is_tile: bool) -> float:
    """Return the rounds of a loop, which its instructions tell from the others."""
    if is_tile:
        return 1
    if "BAR" in body:
        return macros["GROUP_CHUNK"]
    if "HMMA" in body:
        eights = -(-(macros["KERNEL_SIZE"] ** 2) // 8)
        return eights / (macros["BLOCK_THREADS"] // WARP)
    if "FFMA" in body:
        return macros["TILE_CHANNELS"] // macros["THREAD_CHANNELS"]
    pixels, depth = macros["TILE_ROWS"] * macros["TILE_COLUMNS"], macros["REDUCED_CHANNELS"]
    return max(1, pixels * depth // 8 / macros["BLOCK_THREADS"])


def group_accesses(case: GradientsCase) -> Iterator[Access]:
    """Yield the accesses to shared memory for a tile and a group."""
    kernel, layer = case.launch.kernel, LAYERS[case.layer]
    macros = {name: int(value) for name, value in kernel.defines if name != "STORAGE"}
    size, rows, columns = (macros[name] for name in ("KERNEL_SIZE", "TILE_ROWS", "TILE_COLUMNS"))
    itemsize = DTYPES[case.dtype].itemsize
    positions = rows * columns // macros["STRIP_COLUMNS"]
    yield from islice(TiledBlock(kernel, layer, itemsize).accesses(), 2)
    summing = TiledBlock(replace(kernel, threads=positions * size), layer, itemsize)
    yield from islice(summing.accesses(), 2, 4)
    window_row, position = np.divmod(summing.thread, positions)
    tap = window_row * size + np.arange(size).reshape(-1, 1)
    pitch = rows * columns * itemsize + 16
    yield Access("STS", 8, tap * pitch + position * macros["STRIP_COLUMNS"] * itemsize)


def group_wavefronts(case: GradientsCase) -> float:
    """Return the wavefronts for a tile and a group; matrices are loaded without conflicts."""
    macros = dict(case.launch.kernel.defines)
    pixels, area = int(macros["TILE_ROWS"]) * int(macros["TILE_COLUMNS"]), case.sizes.window.area
    parts, eights = -(-case.depth // 16), -(-area // 8)
    matrices = pixels // 16 * -(-area // 16) * (1 + parts) + eights * pixels // 32 * (1 + 2 * parts)
    sums = eights * (parts * 4 * 2 * 2 + 2 * 2)  # read and written, with 2-way conflicts
    return sum(access.wavefronts for access in group_accesses(case)) + 4 * matrices + sums


def gradients_times(case: GradientsCase, gpu: Gpu, disassembly: str) -> dict[str, float]:
    """Return the least microseconds per image of each resource, with the sums that follow."""
    layer, launch, itemsize = LAYERS[case.layer], case.launch, DTYPES[case.dtype].itemsize
    tile = dict(launch.kernel.defines)
    height, width = layer.output_shape[1:]
    tiles = -(-height // int(tile["TILE_ROWS"])) * -(-width // int(tile["TILE_COLUMNS"]))
    parts = launch.grid[1]
    issued = tile_instructions(launch.kernel, disassembly)
    warps = tiles * parts * launch.kernel.threads // WARP
    images = sum(torch.Size(s).numel() for s in (layer.input_shape, layer.output_shape))
    pixels = height * width * case.depth
    moved = (images + 2 * pixels) * itemsize + (2 * 4 * parts * pixels if parts > 1 else 0)
    workspace = 2 * 512 // parts * layer.weight_shape[0] * (case.depth + 1) * 4 / BATCH
    work = Work(
        bytes_moved=int(moved + workspace),
        instructions=warps * issued.total(),
        single=warps * sum(issued[opcode] for opcode in SINGLE),
        double=0,
        wavefronts=tiles * case.sizes.groups * group_wavefronts(case),
    )
    tensor = tensor_microseconds(warps * issued["HMMA"], gpu)
    return {**work.microseconds(gpu), "tensor": tensor}


def stored_microseconds(case: GradientsCase, gpu: Gpu) -> float:
    """Return the time of the weight's gradient and the span's three by stored kernels."""
    stored = KernelCase(case.layer, "involution2d_grad_weight", case.dtype, "channels_last")
    kernel, layer = stored.launch.kernel, LAYERS[case.layer]
    code = toolchain.disassemble(toolchain.compile(kernel, gpu.arch))
    times = work_of(stored, count_issued(code, loop_rounds(kernel))[0]).microseconds(gpu)
    taps, height, width = layer.weight_shape
    moved = (3 * taps + 2 * case.depth) * height * width * DTYPES[case.dtype].itemsize
    return expected(times) + 1e6 * moved / gpu.bandwidth / EFFICIENCY["memory"]


def record(case: GradientsCase, gpu: Gpu) -> Record:
    """Return what the kernel needs, what binds it, and the time with stored kernels."""
    kernel = case.launch.kernel
    cubin = toolchain.compile(kernel, gpu.arch)
    code, found = toolchain.disassemble(cubin), read_resources(cubin)
    opcodes = count_opcodes(code)
    times = gradients_times(case, gpu, code)
    return {
        "layer": case.layer,
        "dtype": case.dtype,
        "gpu": gpu.name,
        "threads": kernel.threads,
        **vars(found),
        "spills": opcodes["LDL"] + opcodes["STL"],
        "warps": occupancy(gpu.arch, kernel.threads, found.registers, found.shared_bytes).warps,
        "tile_instructions": tile_instructions(kernel, code).total(),
        **{f"{name}_us": time for name, time in times.items()},
        "binds": binds(times),
        "fused_us": expected(times),
        "stored_us": stored_microseconds(case, gpu),
    }


def main() -> int:
    """Write `span_gradients.csv`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("runs"), help="folder (runs)")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    gpus = [gpu for gpu in GPUS if gpu.name in ("A100 SXM 80 GB", "H100 SXM")]
    cases = [case for case in all_gradients_cases() if case.dtype == "bfloat16"]
    rows = [record(case, gpu) for case, gpu in product(cases, gpus)]
    write_csv(rows, options.output / "span_gradients.csv")
    return 0


if __name__ == "__main__":
    sys.exit(main())
