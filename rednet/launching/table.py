"""The runs of the paper's table, and how they are run one after the other."""

import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rednet.launching.programs import train_command
from rednet.program import DONE

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
"""The runs of each part of the table: their names and their overrides of `train`."""
GLOBAL_BATCH, BATCH, EPOCHS = 2048, 32, 130


@dataclass(frozen=True)
class Run:
    """One training run.

    Attributes:
        name: Name of its folder: network and seed.
        row: Name of its row of the table, for which the speed is measured.
        overrides: Command line of `train`, which ends in the folder.
    """

    name: str
    row: str
    overrides: list[str]

    def command(self, gpus: int) -> list[str]:
        """Return the command for one machine."""
        return train_command(self.overrides, gpus)


def plan_runs(
    parts: Sequence[str],
    seeds: Sequence[int],
    gpus: int,
    output: Path,
    data_root: str | None = None,
    overrides: Sequence[str] = (),
) -> Iterator[Run]:
    """Yield the runs, one seed after the other.

    Args:
        parts: Names in `PARTS`.
        seeds: Seeds; each gives all runs.
        gpus: GPUs of one machine, a divisor of 64.
        output: Folder of the runs.
        data_root: ImageNet; None for $IMAGENET_ROOT.
        overrides: More of the command line of `train`, for every run.
    """
    steps = GLOBAL_BATCH // (BATCH * gpus)
    root = [f"data.root={data_root}"] if data_root else []
    for seed in seeds:
        for part in parts:
            for row, choice in PARTS[part].items():
                name = f"{row}-seed{seed}"
                settings = [f"seed={seed}", *root, f"trainer.grad_accum_steps={steps}"]
                folder = [f"output_dir={output / name}"]
                yield Run(name, row, [*choice, *settings, *overrides, *folder])


def run_all(runs: Sequence[Run], gpus: int) -> int:
    """Run one after the other; a run that fails does not keep the others from starting.

    Returns:
        The exit code: 0, 1 if a run failed, 128 + the number of a signal that ended a run.
    """
    failed = []
    for run in runs:
        print(f"{run.name}: {shlex.join(run.command(gpus))}", flush=True)
        code = subprocess.run(run.command(gpus)).returncode
        if code < 0 or code in (128 + signal.SIGINT, 128 + signal.SIGTERM):
            return 128 - code if code < 0 else code  # the same command goes on
        if code:
            failed.append(f"{run.name} ({code})")
    if failed:
        print(f"error: failed, with exit code: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else DONE
