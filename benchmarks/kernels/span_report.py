"""What binds the kernels that make their taps by a span, against stored kernels.

python -m benchmarks.kernels.span_report [--output FOLDER] writes `span.csv`; no GPU is needed. Rows
of other dtypes and GPUs that the file has stay as they are.
"""

import argparse
import csv
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, product
from pathlib import Path

import torch
from tqdm import tqdm

from benchmarks.gpus import GPUS, Gpu
from benchmarks.kernels import toolchain
from benchmarks.kernels.bounds import RESOURCES, SINGLE, Work, exchanges
from benchmarks.kernels.cases import DTYPES, LAYERS, ODD
from benchmarks.kernels.expected_time import EFFICIENCY, binds, expected
from benchmarks.kernels.machine_code import count_nested, read_resources
from benchmarks.kernels.occupancy import WARP, occupancy
from benchmarks.kernels.span_block import SpanBlock
from benchmarks.report import Record, write_csv
from rednet.ops.cuda.plan import Launch
from rednet.ops.cuda.span_plan import plan_span

OPERATORS = {"span_involution2d": "involution2d", "span_grad_input": "involution2d_grad_input"}
"""The kernels, and those that read the same taps from memory."""
BINDS = Path(__file__).parents[1] / "results" / "cuda" / "binds.csv"
SPAN_DTYPES = ("float32", "bfloat16", "float16")
KEY = ("layer", "operator", "dtype", "gpu")
"""Columns that tell rows apart."""
BATCH = 256
"""Images that share one reading of the span's weight."""
COUNTS = {
    **{"stem": 1, "stage1": 3, "stage2-first": 1, "stage2": 3},
    **{"stage3-first": 1, "stage3": 5, "stage4-first": 1, "stage4": 2},
}
"""How often RedNet-50 has each layer."""


@dataclass(frozen=True)
class SpanKernelCase:
    """A kernel on one channels_last image."""

    layer: str
    operator: str
    dtype: str

    @property
    def launch(self) -> Launch:
        """The launch that the launch layer plans."""
        layer, dtype = LAYERS[self.layer], DTYPES[self.dtype]
        taps = layer.weight_shape[0]
        reduced = (layer.channels // 4, *layer.output_shape[1:])
        input, output, small = (
            torch.empty(1, *shape, dtype=dtype).to(memory_format=torch.channels_last)
            for shape in (layer.input_shape, layer.output_shape, reduced)
        )
        weight = torch.empty(taps, layer.channels // 4, 1, 1, dtype=dtype)
        images, result = (
            (input, output) if self.operator == "span_involution2d" else (output, input)
        )
        bias = torch.empty(taps, dtype=dtype)
        return plan_span(self.operator, images, small, weight, bias, result, layer.window)


def all_span_cases() -> list[SpanKernelCase]:
    """Return all layers of RedNet-50, both kernels, all dtypes."""
    layers = [layer for layer in LAYERS if layer != ODD.name]
    return [SpanKernelCase(*names) for names in product(layers, OPERATORS, SPAN_DTYPES)]


def span_times(case: SpanKernelCase, gpu: Gpu, issued: Counter[str]) -> dict[str, float]:
    """Return the least microseconds per image of each resource of a GPU.

    Reads from global memory that hit the L1 cache are counted with shared memory, which has the
    same data path: 128 bytes per wavefront. So are exchanges between lanes, one wavefront each.
    """
    layer, itemsize, launch = LAYERS[case.layer], DTYPES[case.dtype].itemsize, case.launch
    block = SpanBlock(launch.kernel, layer, itemsize, gpu.arch >= 80)
    blocks = launch.grid[0] * launch.grid[1] * launch.grid[2]
    warps = blocks * launch.kernel.threads // WARP
    depth, (taps, height, width) = layer.channels // 4, layer.weight_shape
    images = sum(torch.Size(s).numel() for s in (layer.input_shape, layer.output_shape))
    weight = taps * (depth + 1) / BATCH
    read_bytes = 8 if block.is_matrix and depth <= 16 else 16
    work = Work(
        bytes_moved=int((images + depth * height * width + weight) * itemsize),
        instructions=warps * issued.total(),
        single=warps * sum(issued[opcode] for opcode in SINGLE),
        double=0,
        wavefronts=blocks * sum(access.wavefronts for access in block.accesses())
        + warps * issued["LDG"] * read_bytes * WARP / 128
        + warps * exchanges(issued),
        products=warps * issued["HMMA"],
    )
    return work.microseconds(gpu)


def span_memory(case: SpanKernelCase, gpu: Gpu) -> float:
    """Return the least microseconds per image of a span that stores its kernels once."""
    layer, itemsize = LAYERS[case.layer], DTYPES[case.dtype].itemsize
    taps, height, width = layer.weight_shape
    return 1e6 * (taps + layer.channels // 4) * height * width * itemsize / gpu.bandwidth


def stored_times(case: SpanKernelCase, gpu: Gpu) -> dict[str, float]:
    """Return what `binds.csv` has for the kernel that reads the taps from memory."""
    names = case.layer, OPERATORS[case.operator], case.dtype, gpu.name
    rows = csv.DictReader(BINDS.read_text(encoding="utf-8").splitlines())
    row = next(row for row in rows if tuple(row.values())[:4] == names)
    return {name: float(row[f"{name}_us"]) for name in RESOURCES}


def record(case: SpanKernelCase, gpu: Gpu) -> Record:
    """Return what a kernel needs, what binds it, and the time with stored kernels."""
    kernel = case.launch.kernel
    block = SpanBlock(
        kernel, LAYERS[case.layer], DTYPES[case.dtype].itemsize, has_tensor_cores=gpu.arch >= 80
    )
    cubin = toolchain.compile(kernel, gpu.arch)
    found = read_resources(cubin)
    issued = count_nested(toolchain.disassemble(cubin), block.rounds)
    times = span_times(case, gpu, issued)
    stored = stored_times(case, gpu)
    fits = occupancy(gpu.arch, kernel.threads, found.registers, found.shared_bytes)
    return {
        "layer": case.layer,
        "operator": case.operator,
        "dtype": case.dtype,
        "gpu": gpu.name,
        **vars(found),
        "warps": fits.warps,
        "instructions": issued.total(),
        **{f"{name}_us": time for name, time in times.items()},
        "binds": binds(times),
        "fused_us": expected(times),
        "stored_us": expected(stored),
        "span_us": span_memory(case, gpu) / EFFICIENCY["memory"],
    }


def merge(records: Sequence[Record], path: Path) -> list[Record]:
    """Return the rows of a file, if it exists, with new ones in the place of old ones."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    rows: Iterator[Record] = chain(csv.DictReader(text.splitlines()), records)
    return [*{tuple(row[name] for name in KEY): row for row in rows}.values()]


def main() -> int:
    """Write `span.csv`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("runs"), help="folder (runs)")
    parser.add_argument("--dtype", nargs="+", choices=SPAN_DTYPES, default=list(SPAN_DTYPES))
    parser.add_argument("--gpu", nargs="+", default=["A100 SXM 80 GB", "H100 SXM"])
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    gpus = [gpu for gpu in GPUS if gpu.name in options.gpu]
    cases = [case for case in all_span_cases() if case.dtype in options.dtype]
    rows = [record(case, gpu) for case, gpu in tqdm(list(product(cases, gpus)))]
    path = options.output / "span.csv"
    write_csv(merge(rows, path), path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
