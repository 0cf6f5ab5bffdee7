"""What binds the kernels of a span's gradients by banded matrices, against stored kernels.

python -m benchmarks.kernels.span_gradients_report writes `span_gradients.csv`; no GPU is needed.
"""

import argparse
import sys
from collections import Counter
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path

import torch

from benchmarks.gpus import GPUS, Gpu
from benchmarks.kernels import toolchain
from benchmarks.kernels.bounds import SINGLE, Work, loop_rounds, work_of
from benchmarks.kernels.cases import DTYPES, LAYERS, ODD, KernelCase
from benchmarks.kernels.expected_time import EFFICIENCY, binds, expected
from benchmarks.kernels.machine_code import (
    count_issued,
    count_opcodes,
    find_loops,
    read_resources,
)
from benchmarks.kernels.occupancy import WARP, occupancy
from benchmarks.kernels.span_report import BATCH
from benchmarks.kernels.tiled_block import team_size
from benchmarks.report import Record, write_csv
from rednet.ops.cuda.banded_gradients_plan import UNIT, plan_banded_gradients
from rednet.ops.cuda.launch_config import GRADIENT_OPERATORS
from rednet.ops.cuda.plan import Kernel, Launch

WAVEFRONTS = {"LDSM": 4, "LDGSTS": 4, "SHFL": 1, "MOVM": 1}
"""Wavefronts of an instruction of a warp without bank conflicts; those of SHFL and MOVM, which are
said to take the same path, are a guess."""
NAMES = dict(zip(GRADIENT_OPERATORS, ("reduced", "weight"), strict=True))


@dataclass(frozen=True)
class GradientsCase:
    """A kernel on a batch of channels_last images of a layer, in 16 bits."""

    layer: str
    dtype: str
    operator: str

    @property
    def depth(self) -> int:
        """Reduced channels D."""
        return LAYERS[self.layer].channels // 4

    @property
    def launch(self) -> Launch:
        """The launch that is planned, of tensors without memory."""
        layer, dtype = LAYERS[self.layer], DTYPES[self.dtype]
        shapes = layer.output_shape, layer.input_shape, (self.depth, *layer.output_shape[1:])
        grad, input, reduced = (
            torch.empty(1, *shape, dtype=dtype)
            .to(memory_format=torch.channels_last)
            .expand(BATCH, -1, -1, -1)
            for shape in shapes
        )
        weight = torch.empty(layer.weight_shape[0], self.depth, 1, 1, dtype=dtype)
        launches, *_ = plan_banded_gradients((grad, input, reduced), weight, layer.window)
        return launches[GRADIENT_OPERATORS.index(self.operator)]

    @property
    def macros(self) -> dict[str, int]:
        """Macros of the kernel with numbers."""
        defines = self.launch.kernel.defines
        return {name: int(value) for name, value in defines if name != "STORAGE"}


def fetch_rounds(kernel: Kernel) -> list[float]:
    """Return the rounds of the loops that fetch a tile of gradients and one of the input.

    A loop of one round is none.
    """
    macros = {name: int(value) for name, value in kernel.defines if name != "STORAGE"}
    size, stride = macros["KERNEL_SIZE"], macros["STRIDE"]
    rows, columns = macros["TILE_ROWS"], macros["TILE_COLUMNS"]
    sizes = [(rows, columns), ((rows - 1) * stride + size, (columns - 1) * stride + size)]
    at_once = [
        kernel.threads // team_size(kernel.threads, height, 2 * width) for height, width in sizes
    ]
    return [max(1, height / rows) for (height, _), rows in zip(sizes, at_once, strict=True)]


def count_round(kernel: Kernel, disassembly: str) -> tuple[Counter[str], Counter[str]]:
    """Count what a thread issues for a tile and a group, by opcode.

    Returns:
        What all warps issue to fetch, and what those with pixels of the image issue after it.
    """
    lines, loops = find_loops(disassembly)
    start, end = max(
        (loop for loop in loops if any("HMMA" in line for line in lines[slice(*loop)])),
        key=lambda loop: loop[1] - loop[0],
    )
    barrier = next(number for number in range(start, end) if "BAR" in lines[number])
    inner = sorted(loop for loop in loops if start < loop[0] and loop[1] <= barrier)
    rounds = [each for each in fetch_rounds(kernel) if each > 1]
    if len(rounds) != len(inner):
        raise ValueError(f"{len(inner)} loops fetch pixels, {len(rounds)} are known")
    fetching, summing = Counter[str](), Counter[str]()
    for number in range(start, end):
        loops_around = zip(inner, rounds, strict=True)
        times = prod(each for (first, last), each in loops_around if first <= number < last)
        for opcode, count in lines[number].items():
            (fetching if number < barrier else summing)[opcode] += count * times
    return fetching, summing


def work_of_gradients(case: GradientsCase, disassembly: str) -> Work:
    """Return what a kernel does for one image, with the sums that follow."""
    layer, launch, macros = LAYERS[case.layer], case.launch, case.macros
    height, width = layer.output_shape[1:]
    groups, chunks = layer.channels // layer.group_channels, -(-case.depth // macros["DEPTH_CHUNK"])
    tiles = -(-height // macros["TILE_ROWS"]) * -(-width // macros["TILE_COLUMNS"])
    warps = tiles * groups * chunks * launch.kernel.threads // WARP
    units = -(-height // UNIT[0]) * -(-width // UNIT[1]) * groups * chunks
    fetching, summing = count_round(launch.kernel, disassembly)
    issued = {opcode: warps * count for opcode, count in fetching.items()}
    for opcode, count in summing.items():
        issued[opcode] = issued.get(opcode, 0) + units * count
    return Work(
        bytes_moved=_bytes_moved(case),
        instructions=sum(issued.values()),
        single=sum(issued.get(opcode, 0) for opcode in SINGLE),
        double=0,
        wavefronts=sum(count * issued.get(opcode, 0) for opcode, count in WAVEFRONTS.items()),
        products=issued["HMMA"],
    )


def _bytes_moved(case: GradientsCase) -> int:
    layer, itemsize = LAYERS[case.layer], DTYPES[case.dtype].itemsize
    images = sum(torch.Size(s).numel() for s in (layer.input_shape, layer.output_shape))
    images += case.depth * torch.Size(layer.output_shape[1:]).numel()
    factors = layer.weight_shape[0] * case.depth * itemsize
    if case.operator == GRADIENT_OPERATORS[1]:  # sums in float32, written and read
        factors = 2 * 4 * case.launch.grid[0] * layer.weight_shape[0] * (case.depth + 1)
    return images * itemsize + factors // BATCH


def stored_microseconds(layer_name: str, dtype: str, gpu: Gpu) -> float:
    """Return the time of the weight's gradient and the span's three by stored kernels."""
    stored = KernelCase(layer_name, "involution2d_grad_weight", dtype, "channels_last")
    kernel, layer = stored.launch.kernel, LAYERS[layer_name]
    code = toolchain.disassemble(toolchain.compile(kernel, gpu.arch))
    times = work_of(stored, count_issued(code, loop_rounds(kernel))[0]).microseconds(gpu)
    taps, height, width = layer.weight_shape
    moved = (3 * taps + layer.channels // 2) * height * width * DTYPES[dtype].itemsize
    return expected(times) + 1e6 * moved / gpu.bandwidth / EFFICIENCY["memory"]


def kernel_record(case: GradientsCase, gpu: Gpu) -> tuple[Record, float]:
    """Return what a kernel needs and what binds it, and its time."""
    kernel = case.launch.kernel
    cubin = toolchain.compile(kernel, gpu.arch)
    code, found = toolchain.disassemble(cubin), read_resources(cubin)
    opcodes = count_opcodes(code)
    times = work_of_gradients(case, code).microseconds(gpu)
    fetching, summing = count_round(kernel, code)
    columns = {
        "threads": kernel.threads,
        "registers": found.registers,
        "shared_bytes": found.shared_bytes,
        "spills": opcodes["LDL"] + opcodes["STL"],
        "warps": occupancy(gpu.arch, kernel.threads, found.registers, found.shared_bytes).warps,
        "instructions": fetching.total() + summing.total(),
        **{f"{name}_us": time for name, time in times.items()},
        "binds": binds(times),
    }
    name = NAMES[case.operator]
    return {f"{name}_{key}": value for key, value in columns.items()}, expected(times)


def record(layer: str, dtype: str, gpu: Gpu) -> Record:
    """Return the figures of both kernels, and the time with stored kernels."""
    found = [kernel_record(GradientsCase(layer, dtype, name), gpu) for name in GRADIENT_OPERATORS]
    return {
        "layer": layer,
        "dtype": dtype,
        "gpu": gpu.name,
        **found[0][0],
        **found[1][0],
        "fused_us": sum(time for _, time in found),
        "stored_us": stored_microseconds(layer, dtype, gpu),
    }


def main() -> int:
    """Write `span_gradients.csv`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("runs"), help="folder (runs)")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    gpus = [gpu for gpu in GPUS if gpu.name in ("A100 SXM 80 GB", "H100 SXM")]
    layers = [layer for layer in LAYERS if layer != ODD.name]
    rows = [record(layer, "bfloat16", gpu) for layer, gpu in product(layers, gpus)]
    write_csv(rows, options.output / "span_gradients.csv")
    return 0


if __name__ == "__main__":
    sys.exit(main())
