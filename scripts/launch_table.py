"""Train the paper's table: python scripts/launch_table.py --dry-run --data-root /data/imagenet."""

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import submit

from rednet.errors import InputError
from rednet.files import write_text_atomically
from rednet.program import DONE, run_program
from rednet.wording import count

DEPTHS = (26, 38, 50, 101, 152)
ABLATIONS = (
    *("baseline", "kernel3", "kernel5", "kernel9", "group1", "group4", "group_layer", "linear"),
    *("reduction1", "reduction16"),
)
PARTS = {
    "rednets": {f"rednet{depth}": ["experiment=paper", f"model=rednet{depth}"] for depth in DEPTHS},
    "resnets": {f"resnet{depth}": ["experiment=paper", f"model=resnet{depth}"] for depth in DEPTHS},
    "ablations": {name: [f"experiment=ablation/{name}"] for name in ABLATIONS},
}
"""The runs of each part of the table: their names and their overrides of train.py."""
GLOBAL_BATCH, BATCH, EPOCHS = 2048, 32, 130
TRAIN_IMAGES, VAL_IMAGES = 1_281_167, 50_000
VAL_COST = 1 / 3
"""Cost of an image in evaluation, which has no backward pass, relative to training."""
SPEEDS = "speeds.json"


@dataclass(frozen=True)
class Run:
    """One training run.

    Attributes:
        name: Name of its folder: network and seed.
        row: Name of its row of the table, for which the speed is measured.
        overrides: Command line of train.py, which ends in the folder.
    """

    name: str
    row: str
    overrides: list[str]

    def command(self, gpus: int) -> list[str]:
        """Return the command for one machine."""
        return [*torchrun(gpus), submit.TRAIN, *self.overrides]


def main(argv: Sequence[str] | None = None) -> int:
    """Print, measure, run or submit the runs; return the exit code."""
    return run_program(lambda: _main(argv))


def _main(argv: Sequence[str] | None) -> int:
    options = parse(argv)
    runs = list(plan(options))
    if options.measure:
        measure(options, runs)
    if options.measure or options.dry_run:
        print("\n".join(describe(options, runs, read_speeds(options.output))), flush=True)
        return DONE
    return submit_runs(options, runs) if options.slurm else run_all(options, runs)


def parse(argv: Sequence[str] | None) -> Namespace:
    """Parse the command line.

    Raises:
        InputError: The GPUs do not divide the recipe's batch.
    """
    parser = ArgumentParser(description=__doc__)
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
    options = parser.parse_args(argv)
    if options.gpus < 1 or GLOBAL_BATCH % (BATCH * options.gpus):
        raise InputError(
            f"--gpus {options.gpus}: {GLOBAL_BATCH} images in batches of {BATCH} need a number of "
            "GPUs that divides 64"
        )
    return options


def plan(options: Namespace) -> Iterator[Run]:
    """Yield the runs, one seed after the other."""
    steps = GLOBAL_BATCH // (BATCH * options.gpus)
    root = [f"data.root={options.data_root}"] if options.data_root else []
    for seed in options.seeds:
        for part in options.parts:
            for row, choice in PARTS[part].items():
                name = f"{row}-seed{seed}"
                settings = [f"seed={seed}", *root, f"trainer.grad_accum_steps={steps}"]
                folder = [f"output_dir={options.output / name}"]
                yield Run(name, row, [*choice, *settings, *options.overrides, *folder])


def torchrun(gpus: int) -> list[str]:
    """Return the beginning of a command for one machine."""
    if gpus == 1:
        return [sys.executable]
    module = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--max-restarts=3"]
    return [*module, f"--nproc-per-node={gpus}"]


def describe(options: Namespace, runs: Sequence[Run], speeds: Mapping[str, float]) -> list[str]:
    """Return the lines of a dry run: the commands, or the array, and how long they take."""
    lines = [f"{count(len(runs), 'run')} on {count(options.gpus, 'GPU')} each"]
    found = {run.name: hours(speeds[run.row]) for run in runs if run.row in speeds}
    for run in runs:
        time = f"{found[run.name]:7.1f} h" if run.name in found else "      ? h"
        command = run.overrides if options.slurm else run.command(options.gpus)
        lines.append(f"{time}  {shlex.join(command)}")
    total = sum(found.values())
    if options.slurm:
        lines.append(
            f"as an array of {count(len(runs), 'job')}, {options.at_once} at a time, each up to "
            f"{options.hours:g} h and queued again after a time limit or a preemption"
        )
    if len(found) < len(runs):
        missing = count(len(runs) - len(found), "run")
        lines.append(f"{missing} without a measured speed: --measure takes {options.steps} steps")
    if found:
        lines.append(
            f"{count(len(found), 'run')}: {total:.1f} h one after the other, "
            f"{max(found.values()):.1f} h at once, {total * options.gpus:.0f} GPU hours"
        )
    return lines


def hours(images_per_second: float) -> float:
    """Return the duration of a run of 130 epochs, evaluations included."""
    images = EPOCHS * (TRAIN_IMAGES + VAL_COST * VAL_IMAGES)
    return images / images_per_second / 3600


def measure(options: Namespace, runs: Sequence[Run]) -> None:
    """Run the first steps of each network and write images/s, slow first steps included.

    Raises:
        InputError: A network cannot be trained.
    """
    speeds = dict(read_speeds(options.output))
    for run in {run.row: run for run in reversed(runs)}.values():
        folder = options.output / "measure" / run.row
        shutil.rmtree(folder, ignore_errors=True)  # an earlier measurement
        short = [f"trainer.max_steps={options.steps}", "data.val_samples=1000"]
        command = [*run.command(options.gpus)[:-1], *short, f"output_dir={folder}"]
        print(f"measuring {run.row}: {options.steps} steps", flush=True)
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        found = re.findall(r"images/s (\d+)", done.stdout)
        if done.returncode or not found:
            raise InputError(f"{run.row} ends with exit code {done.returncode}, see above")
        speeds[run.row] = float(found[-1])
        write_text_atomically(options.output / SPEEDS, json.dumps(speeds, indent=1) + "\n")


def read_speeds(output: Path) -> dict[str, float]:
    """Return the measured images/s by row.

    Raises:
        InputError: The file is damaged.
    """
    path = output / SPEEDS
    try:
        found = json.loads(path.read_text()) if path.exists() else {}
        return {str(row): float(speed) for row, speed in found.items() if float(speed) > 0}
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not a JSON object of images/s by network") from error


def run_all(options: Namespace, runs: Sequence[Run]) -> int:
    """Run one after the other; a run that fails does not keep the others from starting."""
    failed = []
    for run in runs:
        print(f"{run.name}: {shlex.join(run.command(options.gpus))}", flush=True)
        code = subprocess.run(run.command(options.gpus)).returncode
        if code < 0 or code in (128 + signal.SIGINT, 128 + signal.SIGTERM):
            return 128 - code if code < 0 else code  # the same command goes on
        if code:
            failed.append(f"{run.name} ({code})")
    if failed:
        print(f"error: failed, with exit code: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else DONE


def submit_runs(options: Namespace, runs: Sequence[Run]) -> int:
    """Submit all runs as one array of Slurm's, each on a machine of its own.

    Raises:
        InputError: submitit is missing.
    """
    try:
        import submitit
    except ImportError as error:
        raise InputError(submit.MISSING.removeprefix("error: ")) from error
    options.nodes, options.processes, options.name = 1, 1, "rednet-table"
    limits = {"slurm_max_num_timeout": options.restarts}
    executor = submitit.AutoExecutor(options.jobs, "slurm", **limits)
    at_once = {"slurm_array_parallelism": options.at_once}
    executor.update_parameters(**submit.parameters(options), **at_once)
    with executor.batch():
        jobs = [executor.submit(submit.Job(run.overrides, options.gpus)) for run in runs]
    for run, job in zip(runs, jobs, strict=True):
        print(f"job {job.job_id}: {run.name}; its output is in {job.paths.stdout}")
    return DONE


if __name__ == "__main__":
    sys.exit(main())
