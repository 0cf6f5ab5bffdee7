"""The report on the kernels: tables and a picture in a folder, the gist on the screen."""

import sys
from argparse import Namespace
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from tqdm import tqdm

from benchmarks.kernels import toolchain
from benchmarks.kernels.cases import all_cases
from benchmarks.kernels.pictures import draw
from benchmarks.kernels.survey import (
    Record,
    examine_all,
    kernel_records,
    roofline_records,
)
from benchmarks.report import to_table, write_csv
from rednet.errors import InputError

KERNEL_COLUMNS = {
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
    "instructions_per_multiply_add": "instr/mac",
    "global_loads_per_multiply_add": "loads/mac",
    "shared_loads_per_multiply_add": "lds/mac",
    "global_loads_16": "16-byte",
    "basis": "basis",
    "loops": "loops",
}
ROOFLINE_COLUMNS = {
    "gpu": "GPU",
    "dtype": "dtype",
    "layer": "layer",
    "bytes_per_image": "bytes",
    "multiply_adds_per_image": "multiply-adds",
    "memory_us": "memory us",
    "arithmetic_us": "arithmetic us",
    "limit": "limit",
    "issue_estimate_us": "forward's instructions us",
}


def run(options: Namespace) -> None:
    """Compiles what the options ask for and writes the report.

    Raises:
        InputError: The compiler or a disassembler is missing, or the folder cannot be made.
    """
    reason = toolchain.why_not()
    if reason is not None:
        raise InputError(reason)
    _make(options.output)
    launches = {case: case.launch for case in all_cases() if case.dtype in options.dtype}
    kernels = dict.fromkeys(launch.kernel for launch in launches.values())
    jobs = [(kernel, arch) for kernel in kernels for arch in options.arch]
    with _progress(len(jobs)) as bar:
        found = examine_all(jobs, options.processes, bar.update)
    records = list(kernel_records(launches, found))
    _write(records, list(roofline_records(launches, found)), options.output)


def _progress(total: int) -> tqdm:
    """A bar on a terminal, elsewhere a line every half minute."""
    if sys.stderr.isatty():
        return tqdm(total=total, unit=" kernels", leave=False)
    line = "{n_fmt} of {total_fmt} kernels, {rate_fmt}, {remaining} left\n"
    return tqdm(total=total, unit=" kernels", mininterval=30, bar_format=line)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--output {folder}: {error.strerror}") from error


def _write(kernels: list[Record], rooflines: list[Record], folder: Path) -> None:
    origin = {
        "date": f"{datetime.now():%Y-%m-%d}",
        "nvrtc": toolchain.compiler_version(),
    }
    write_csv([{**row, **origin} for row in kernels], folder / "kernels.csv")
    write_csv(rooflines, folder / "roofline.csv")
    draw(kernels, rooflines, folder / "kernels.png")
    gist = [row for row in kernels if row["arch"] in (80, 90) and row["layout"] == "channels_last"]
    print(to_table(gist or kernels, KERNEL_COLUMNS))
    forward = [row for row in rooflines if row["operator"] == "involution2d"]
    print(to_table([row for row in forward if row["dtype"] == "float32"], ROOFLINE_COLUMNS))
    print(_spills(kernels))
    print(f"kernels.csv, roofline.csv and kernels.png are in {folder}", flush=True)


def _spills(kernels: Sequence[Record]) -> str:
    """Which kernels use local memory, in one line."""
    names = ("stack_bytes", "local_bytes", "spill_loads", "spill_stores")
    spilling = [row for row in kernels if any(row[name] for name in names)]
    if not spilling:
        return f"none of {len(kernels)} kernels spills registers or uses local memory"
    case = ("layers", "operator", "dtype", "layout", "arch")
    told = "; ".join(" ".join(str(row[name]) for name in case) for row in spilling)
    return f"{len(spilling)} of {len(kernels)} kernels use local memory: {told}"
