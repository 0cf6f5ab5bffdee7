"""The command line of the kernel report: python scripts/kernel_report.py [--output FOLDER]."""

import argparse
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from benchmarks.commandline import Parser, output_path, run_command
from benchmarks.kernels.toolchain import ARCHITECTURES
from rednet.program import announce, announce_torch

PROGRAM = "python scripts/kernel_report.py"
DESCRIPTION = (
    "Compile the CUDA kernels, without a GPU, and report what their machine code needs: "
    "registers, spills, shared memory, occupancy, a histogram of opcodes, and what binds them."
)
DTYPES = ("float32", "float16", "bfloat16", "float64")


def main(argv: Sequence[str] | None = None) -> int:
    """Write the report; return the exit code: 0, 2 for wrong input, 130 after an interrupt."""
    return run_command(_run, argv)


def _run(argv: Sequence[str]) -> None:
    options = parse(argv)
    announce_torch()
    # Imported here because torch takes seconds to import, and a mistake is answered without it.
    from benchmarks.kernels.report import run

    announce(None)
    run(options)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the options."""
    parser = Parser(prog=PROGRAM, description=DESCRIPTION, allow_abbrev=False)
    parser.add_argument("--output", type=output_path, help="folder (runs/kernels-TIME)")
    parser.add_argument(
        "--arch",
        type=int,
        nargs="+",
        choices=ARCHITECTURES,
        default=list(ARCHITECTURES),
        help="compute capabilities without the point (all)",
    )
    parser.add_argument("--dtype", nargs="+", choices=DTYPES, default=list(DTYPES), help="(all)")
    parser.add_argument(
        "--processes", type=int, choices=range(1, 65), default=2, metavar="N", help="at once (2)"
    )
    options = parser.parse_args(list(argv))
    if options.output is None:
        options.output = Path("runs", f"kernels-{datetime.now():%Y%m%d-%H%M%S}")
    return options
