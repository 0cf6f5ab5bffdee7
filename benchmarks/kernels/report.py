"""The kernel report: two tables with a figure each in a folder, a summary on the screen."""

import multiprocessing
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from pathlib import Path

from tqdm import tqdm

from benchmarks.commandline import make_output_folder
from benchmarks.kernels import toolchain
from benchmarks.kernels.bounds import RESOURCES, bound_records, loop_rounds
from benchmarks.kernels.cases import KernelCase, all_cases
from benchmarks.kernels.charts import draw_binds, draw_kernels
from benchmarks.kernels.machine_code import (
    Resources,
    count_issued,
    count_opcodes,
    read_resources,
)
from benchmarks.kernels.occupancy import occupancy
from benchmarks.report import Record, to_table, write_csv
from rednet.errors import InputError
from rednet.ops.cuda.plan import Kernel
from rednet.wording import count


@dataclass(frozen=True)
class Found:
    """What the machine code of a kernel says.

    Attributes:
        resources: Registers and memory.
        opcodes: Instructions by opcode, each once.
        issued: Instructions by opcode, as often as a thread issues them.
    """

    resources: Resources
    opcodes: Counter[str]
    issued: Counter[str]


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
    cases = [case for case in all_cases() if case.dtype in options.dtype]
    users: dict[Kernel, list[KernelCase]] = {}
    for case in cases:
        users.setdefault(case.launch.kernel, []).append(case)
    jobs = list(product(users, options.arch))
    examined = dict(zip(jobs, _examine_all(jobs, options.processes), strict=True))
    _write_kernels([_record(users[job[0]], *job, examined[job]) for job in jobs], options.output)
    issued = {job: found.issued for job, found in examined.items()}
    _write_binds(bound_records(cases, issued), options.output)


def _examine_all(jobs: Sequence[tuple[Kernel, int]], processes: int) -> list[Found]:
    """Examine kernels in processes, because NVRTC compiles one at a time in each of them."""
    interval = 0.1 if sys.stderr.isatty() else 30
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        run_each = map if processes == 1 else pool.map
        found = run_each(examine, *zip(*jobs, strict=True))
        return list(tqdm(found, total=len(jobs), unit=" kernels", mininterval=interval))


def examine(kernel: Kernel, arch: int) -> Found:
    """Compile a kernel and read its machine code."""
    cubin = toolchain.compile(kernel, arch)
    disassembly = toolchain.disassemble(cubin)
    issued, _ = count_issued(disassembly, loop_rounds(kernel))
    return Found(read_resources(cubin), count_opcodes(disassembly), issued)


def _record(cases: Sequence[KernelCase], kernel: Kernel, arch: int, found: Found) -> Record:
    needs, opcodes = found.resources, found.opcodes
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
        "opcodes": " ".join(f"{name}:{number}" for name, number in opcodes.most_common()),
    }


def _write_kernels(records: Sequence[Record], folder: Path) -> None:
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


def _write_binds(records: Sequence[Record], folder: Path) -> None:
    """Write what binds on the GPUs of the table, if one has a selected architecture."""
    if not records:
        return
    write_csv(records, folder / "binds.csv")
    draw_binds(records, folder / "binds.png")
    kinds = Counter((row["gpu"], row["dtype"], row["binds"]) for row in records)
    for gpu, dtype in dict.fromkeys((row["gpu"], row["dtype"]) for row in records):
        shares = {name: kinds[gpu, dtype, name] for name in RESOURCES}
        print(f"{gpu}, {dtype}: bound by " + ", ".join(f"{n} {c}" for n, c in shares.items() if c))
    print(f"binds.csv and binds.png are in {folder}", flush=True)


def _spills(records: Sequence[Record]) -> str:
    """Say in one line which kernels use local memory."""
    columns = ("stack_bytes", "local_bytes", "spill_loads", "spill_stores")
    spilling = [row for row in records if any(row[name] for name in columns)]
    if not spilling:
        return f"none of {count(len(records), 'kernel')} spills registers or uses local memory"
    case = ("layers", "operator", "dtype", "layout", "arch")
    names = "; ".join(" ".join(str(row[name]) for name in case) for row in spilling)
    return f"{len(spilling)} of {count(len(records), 'kernel')} in need of local memory: {names}"
