"""The kernel report: a table and a figure in a folder, a summary on the screen."""

import multiprocessing
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime
from itertools import product
from pathlib import Path

from tqdm import tqdm

from benchmarks.commandline import make_output_folder
from benchmarks.kernels import toolchain
from benchmarks.kernels.cases import KernelCase, all_cases
from benchmarks.kernels.charts import draw_kernels
from benchmarks.kernels.machine_code import Resources, count_opcodes, read_resources
from benchmarks.kernels.occupancy import occupancy
from benchmarks.report import Record, to_table, write_csv
from rednet.errors import InputError
from rednet.ops.cuda.plan import Kernel

Found = tuple[Resources, Counter[str]]

DRAWN_LAYER = "stage2"
COLUMNS = {
    "layers": "layers",
    "operator": "operator",
    "dtype": "dtype",
    "layout": "layout",
    "arch": "sm",
    "registers": "regs",
    "spill_loads": "spills",
    "shared_bytes": "shared",
    "occupancy": "occupancy",
    "limit": "limit",
    "instructions": "instr",
    "most_frequent": "most frequent",
}


def run(options: Namespace) -> None:
    """Compile the kernels that the options select and write the report.

    Raises:
        InputError: The compiler or a disassembler is missing, or the folder cannot be created.
    """
    reason = toolchain.unavailable_reason()
    if reason is not None:
        raise InputError(reason)
    make_output_folder(options.output)
    users: dict[Kernel, list[KernelCase]] = {}
    for case in all_cases():
        if case.dtype in options.dtype:
            users.setdefault(case.launch.kernel, []).append(case)
    jobs = list(product(users, options.arch))
    records = [
        _record(users[kernel], kernel, arch, found)
        for (kernel, arch), found in zip(jobs, _examine_all(jobs, options.processes), strict=True)
    ]
    _write(records, options.output)


def _examine_all(jobs: Sequence[tuple[Kernel, int]], processes: int) -> list[Found]:
    """Examine kernels in processes, because NVRTC compiles one at a time in each of them."""
    interval = 0.1 if sys.stderr.isatty() else 30
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        run_each = map if processes == 1 else pool.map
        found = run_each(examine, *zip(*jobs, strict=True))
        return list(tqdm(found, total=len(jobs), unit=" kernels", mininterval=interval))


def examine(kernel: Kernel, arch: int) -> Found:
    """Compile a kernel and return its resources and a histogram of its opcodes."""
    cubin = toolchain.compile(kernel, arch)
    return read_resources(cubin), count_opcodes(toolchain.disassemble(cubin))


def _record(cases: Sequence[KernelCase], kernel: Kernel, arch: int, found: Found) -> Record:
    needs, opcodes = found
    fits = occupancy(arch, kernel.threads, needs.registers, needs.shared_bytes)
    return {
        "layers": " ".join(case.layer for case in cases),
        "operator": cases[0].operator,
        "dtype": cases[0].dtype,
        "layout": cases[0].layout,
        "arch": arch,
        "threads": kernel.threads,
        **vars(needs),
        "spill_loads": opcodes["LDL"],
        "spill_stores": opcodes["STL"],
        "occupancy": fits.share,
        "blocks": fits.blocks,
        "limit": fits.limit,
        "instructions": opcodes.total(),
        "opcodes": " ".join(f"{name}:{count}" for name, count in opcodes.most_common()),
    }


def _write(records: Sequence[Record], folder: Path) -> None:
    origin = {"date": f"{datetime.now():%Y-%m-%d}", "nvrtc": toolchain.compiler_version()}
    write_csv([{**record, **origin} for record in records], folder / "kernels.csv")
    draw_kernels(records, DRAWN_LAYER, folder / "kernels.png")
    gist = [row for row in records if row["arch"] in (80, 90) and row["layout"] == "channels_last"]
    rows = [
        {**row, "most_frequent": " ".join(row["opcodes"].split()[:4])} for row in gist or records
    ]
    print(to_table(rows, COLUMNS))
    print(_spills(records))
    print(f"kernels.csv and kernels.png are in {folder}", flush=True)


def _spills(records: Sequence[Record]) -> str:
    """Say in one line which kernels use local memory."""
    columns = ("stack_bytes", "local_bytes", "spill_loads", "spill_stores")
    spilling = [row for row in records if any(row[name] for name in columns)]
    if not spilling:
        return f"none of {len(records)} kernels spills registers or uses local memory"
    case = ("layers", "operator", "dtype", "layout", "arch")
    names = "; ".join(" ".join(str(row[name]) for name in case) for row in spilling)
    return f"{len(spilling)} of {len(records)} kernels use local memory: {names}"
