"""How long the runs of the table take, by the measured speed of their networks."""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from rednet.errors import InputError
from rednet.files import write_text_atomically
from rednet.launching.slurm import Resources
from rednet.launching.table import EPOCHS, Run
from rednet.program import say
from rednet.wording import count

TRAIN_IMAGES, VAL_IMAGES = 1_281_167, 50_000
VAL_COST = 1 / 3
"""Cost of an image in evaluation, which has no backward pass, relative to training."""
SPEEDS = "speeds.json"


def describe_runs(
    runs: Sequence[Run],
    speeds: Mapping[str, float],
    gpus: int,
    steps: int,
    array: Resources | None = None,
) -> list[str]:
    """Return the lines of a dry run: the commands, or the array, and how long they take.

    Args:
        runs: The runs.
        speeds: Images/s by row.
        gpus: GPUs of each run.
        steps: Steps of a measurement.
        array: What Slurm is asked for, if it runs them.
    """
    lines = [f"{count(len(runs), 'run')} on {count(gpus, 'GPU')} each"]
    found = {run.name: hours(speeds[run.row]) for run in runs if run.row in speeds}
    for run in runs:
        time = f"{found[run.name]:7.1f} h" if run.name in found else "      ? h"
        lines.append(f"{time}  {shlex.join(run.overrides if array else run.command(gpus))}")
    if array:
        lines.append(
            f"as an array of {count(len(runs), 'job')}, {array.at_once} at a time, each up to "
            f"{array.hours:g} h and queued again after a time limit or a preemption"
        )
    if len(found) < len(runs):
        missing = count(len(runs) - len(found), "run")
        lines.append(f"{missing} without a measured speed: --measure takes {steps} steps")
    if found:
        total = sum(found.values())
        lines.append(
            f"{count(len(found), 'run')}: {total:.1f} h one after the other, "
            f"{max(found.values()):.1f} h at once, {total * gpus:.0f} GPU hours"
        )
    return lines


def hours(images_per_second: float) -> float:
    """Return the duration of a run of 130 epochs, evaluations included."""
    images = EPOCHS * (TRAIN_IMAGES + VAL_COST * VAL_IMAGES)
    return images / images_per_second / 3600


def measure(runs: Sequence[Run], output: Path, gpus: int, steps: int) -> None:
    """Run the first steps of each network and write images/s, slow first steps included.

    Args:
        runs: The runs; of several with the same row, the first one is measured.
        output: Folder of the table, where the speeds are written.
        gpus: GPUs of this machine.
        steps: Steps of each network.

    Raises:
        InputError: A network cannot be trained.
    """
    speeds = dict(read_speeds(output))
    for run in {run.row: run for run in reversed(runs)}.values():
        folder = output / "measure" / run.row
        shutil.rmtree(folder, ignore_errors=True)  # an earlier measurement
        short = [f"trainer.max_steps={steps}", "data.val_samples=1000"]
        command = [*run.command(gpus)[:-1], *short, f"output_dir={folder}"]
        say(f"measuring {run.row}: {count(steps, 'step')}")
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        found = re.findall(r"images/s (\d+)", done.stdout)
        if done.returncode or not found:
            raise InputError(f"{run.row} ends with exit code {done.returncode}, see above")
        speeds[run.row] = float(found[-1])
        write_text_atomically(output / SPEEDS, json.dumps(speeds, indent=1) + "\n")


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
