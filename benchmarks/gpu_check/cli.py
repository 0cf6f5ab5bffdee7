"""The command line of the check: python scripts/gpu_check.py.

It imports neither torch nor rednet, since either may be missing or broken.
"""

import argparse
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

from benchmarks.gpu_check import wheels
from benchmarks.gpu_check.record import NAME, to_page, write_record
from benchmarks.gpu_check.runner import FAILED, LATE, SKIPPED, Outcome, run_stage
from benchmarks.gpu_check.stages import ROOT, Stage, all_stages

PROGRAM = "python scripts/gpu_check.py"
SECONDS = 480
PATIENCE = 10
"""How many times as long a dry run may take, on a CPU that does other work."""
LEAST_SECONDS = 10
"""Seconds without which no stage is started."""
DONE, STAGE_FAILED, WRONG_INPUT = 0, 1, 2


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Print the message in one line and exit with code 2."""
        self.exit(WRONG_INPUT, f"error: {message}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the check; return 0, 1 if a stage failed, 2 for wrong input."""
    options = parse(argv)
    if options.collect_wheels:
        return wheels.collect(options.collect_wheels, options.python)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        options.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        print(f"error: --output {options.output}: {error.strerror}", file=sys.stderr)
        return WRONG_INPUT
    with TemporaryDirectory() as site:
        added = wheels.unpack_missing(options.wheels, Path(site))
        return check(options, [site] if added else [], added)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the options; `stages` are those to run."""
    parser = _Parser(prog=PROGRAM, description=__doc__, allow_abbrev=False)
    names = [stage.name for stage in all_stages()]
    parser.add_argument("--output", type=Path, help="folder of the results (runs/gpu-check-TIME)")
    parser.add_argument(
        "--seconds", type=float, help=f"in all ({SECONDS}, {PATIENCE} times that without a GPU)"
    )
    parser.add_argument("--stages", nargs="+", choices=names, default=names, help="(all)")
    parser.add_argument("--skip", nargs="+", choices=names, default=[], help="stages to leave out")
    parser.add_argument(
        "--device", choices=("cuda", "cpu"), default="cuda", help="cpu is --dry-run"
    )
    parser.add_argument("--dry-run", action="store_true", help="smallest sizes, on the CPU")
    parser.add_argument("--wheels", type=Path, default=ROOT / "wheels", help="folder (wheels)")
    parser.add_argument("--collect-wheels", type=Path, help="fill such a folder, and do no more")
    parser.add_argument(
        "--python", default=wheels.PYTHON, help=f"of the GPU's machine ({wheels.PYTHON})"
    )
    options = parser.parse_args(argv)
    options.words = sys.argv[1:] if argv is None else argv
    if options.dry_run:
        options.device = "cpu"
    if options.seconds is None:
        options.seconds = SECONDS * (PATIENCE if options.device == "cpu" else 1)
    if options.output is None:
        options.output = Path("runs", f"gpu-check-{datetime.now():%Y%m%d-%H%M%S}")
    chosen = {*options.stages} - {*options.skip}
    options.stages = [stage for stage in all_stages() if stage.name in chosen]
    return options


def check(options: argparse.Namespace, sites: Sequence[str], added: Sequence[str]) -> int:
    """Run the stages and print the page; `sites` are folders of packages that were unpacked."""
    path = os.pathsep.join([str(ROOT), *sites, *filter(None, [os.environ.get("PYTHONPATH")])])
    header = describe_run(options, added)
    outcomes: list[Outcome] = []
    end = time.monotonic() + options.seconds
    for stage in options.stages:
        print(f"{end - time.monotonic():4.0f} s left: {stage.name}", file=sys.stderr, flush=True)
        outcomes.append(run_in_time(stage, options, end - time.monotonic(), path, outcomes))
        header["seconds"] = round(options.seconds - (end - time.monotonic()), 1)
        write_record(options.output, header, outcomes)
    print(to_page(header, outcomes), end="")
    print(f"{NAME}.json, .txt and .log are in {options.output}", flush=True)
    return STAGE_FAILED if any(one.status in (FAILED, LATE) for one in outcomes) else DONE


def run_in_time(
    stage: Stage, options: argparse.Namespace, left: float, path: str, done: Sequence[Outcome]
) -> Outcome:
    """Run a stage, unless too little time is left or there is no GPU."""
    if any(row.get("no_gpu") for outcome in done for row in outcome.rows):
        return Outcome(stage.name, SKIPPED, "torch sees no GPU: --dry-run needs none")
    if left < LEAST_SECONDS:
        return Outcome(stage.name, SKIPPED, "no time was left")
    is_dry = options.device == "cpu"
    seconds = min(stage.seconds * (PATIENCE if is_dry else 1), left)
    return run_stage(stage, "cpu" if is_dry else "cuda:0", is_dry, seconds, path)


def describe_run(options: argparse.Namespace, added: Sequence[str]) -> dict[str, object]:
    """Return what identifies the run."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": f"{PROGRAM} {shlex.join(options.words)}",
        "commit": _commit(),
        "from wheels": " ".join(added) or "nothing",
        "seconds": 0.0,
    }


def _commit() -> str:
    """Return the commit of the checkout, if git and its history are there."""
    try:
        command = ["git", "describe", "--always", "--dirty"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() or "unknown"
