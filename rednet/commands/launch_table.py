"""Train the paper's table, on this machine or by Slurm; measure it; say what would run."""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from rednet.arguments import command_parser
from rednet.config import compose
from rednet.errors import InputError
from rednet.launching.slurm import Job, Resources, make_executor
from rednet.launching.speeds import describe_runs, measure, read_speeds
from rednet.launching.table import BATCH, GLOBAL_BATCH, PARTS, Run, plan_runs, run_all
from rednet.program import DONE, run_program


def launch_table(argv: Sequence[str] | None = None) -> int:
    """Print, measure, run or submit the runs; return the exit code."""
    return run_program(lambda: _launch_table(_parser().parse_args(argv)))


def _launch_table(options: Namespace) -> int:
    gpus = options.gpus
    if gpus < 1 or GLOBAL_BATCH % (BATCH * gpus):
        raise InputError(
            f"--gpus {gpus}: {GLOBAL_BATCH} images in batches of {BATCH} need a number of "
            "GPUs that divides 64"
        )
    root, overrides = options.data_root, options.overrides
    runs = list(plan_runs(options.parts, options.seeds, gpus, options.output, root, overrides))
    _check(runs, options.parts)
    array = _resources(options) if options.slurm else None
    if options.measure:
        measure(runs, options.output, gpus, options.steps)
    if options.measure or options.dry_run:
        speeds = read_speeds(options.output)
        print("\n".join(describe_runs(runs, speeds, gpus, options.steps, array)), flush=True)
        return DONE
    return run_all(runs, gpus) if array is None else _submit(runs, array)


def _check(runs: Sequence[Run], parts: Sequence[str]) -> None:
    """Check the settings of each part now: a mistake would end every run at its start."""
    rows = {run.row: run for run in runs}
    for part in parts:
        compose("train", rows[next(iter(PARTS[part]))].overrides)


def _resources(options: Namespace) -> Resources:
    return Resources(
        name="rednet-table",
        folder=options.jobs,
        partition=options.partition,
        gpus=options.gpus,
        processes=options.gpus,
        cpus=options.cpus,
        hours=options.hours,
        restarts=options.restarts,
        at_once=options.at_once,
    )


def _submit(runs: Sequence[Run], array: Resources) -> int:
    """Submit all runs as one array of Slurm's, each on a machine of its own."""
    executor = make_executor(array)
    with executor.batch():
        jobs = [executor.submit(Job(run.overrides, array.processes)) for run in runs]
    for run, job in zip(runs, jobs, strict=True):
        print(f"job {job.job_id}: {run.name}; its output is in {job.paths.stdout}")
    return DONE


def _parser() -> ArgumentParser:
    parser = command_parser("launch-table", __doc__)
    parser.add_argument("overrides", nargs="*", help="more of train.py's, for every run, after --")
    parser.add_argument("--dry-run", action="store_true", help="print what would run")
    parser.add_argument("--measure", action="store_true", help="measure the speed of each network")
    parser.add_argument("--steps", type=int, default=100, help="steps of a measurement")
    parser.add_argument("--slurm", action="store_true", help="submit an array of jobs")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--data-root", default=None, help="ImageNet; by default $IMAGENET_ROOT")
    parser.add_argument("--output", type=Path, default=Path("runs/table"))
    parser.add_argument("--gpus", type=int, default=8, help="of one machine")
    parser.add_argument("--jobs", default="jobs", help="Slurm: folder of the jobs' logs")
    parser.add_argument("--partition", help="Slurm: partition")
    parser.add_argument("--cpus", type=int, default=12, help="Slurm: CPUs for each GPU")
    parser.add_argument("--hours", type=float, default=24.0, help="Slurm: time limit of a job")
    parser.add_argument("--restarts", type=int, default=20, help="Slurm: after time limits")
    parser.add_argument("--at-once", type=int, default=20, help="Slurm: most jobs at a time")
    return parser
