"""Submit a run to Slurm: python scripts/submit.py --gpus 8 --hours 24 -- output_dir=runs/x ..."""

import os
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TRAIN = str(Path(__file__).resolve().parents[1] / "train.py")
MISSING = 'error: submitit is missing: pip install "rednet[cluster]"'
SAVE_S = 180
"""Seconds between the signal and the end of a job."""


class Job:
    """Trains on one machine of the job; submitit calls it there, and `checkpoint` before the end.

    Args:
        overrides: Command line of train.py.
        processes: Processes on each machine.
    """

    def __init__(self, overrides: list[str], processes: int) -> None:
        self.overrides, self.processes = overrides, processes
        self.process: subprocess.Popen[bytes]

    def __call__(self) -> int:
        """Train to the end; return the exit code, which is 0."""
        # In a session of its own, which the signals for submitit do not reach.
        self.process = subprocess.Popen(self.command(), start_new_session=True)
        try:
            self.wait()
        finally:
            self.process.kill()
        if code := self.process.wait():
            raise RuntimeError(f"the training ended with exit code {code}")
        return code

    def checkpoint(self) -> Any:
        """Let the run save and end; return what continues it."""
        import submitit

        self.process.terminate()
        self.wait()
        return submitit.helpers.DelayedSubmission(Job(self.overrides, self.processes))

    def wait(self) -> None:
        """Wait for the end. A signal may interrupt this and do the same: no lock may be held."""
        os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)

    def command(self) -> list[str]:
        """Return the command for this machine."""
        import submitit

        place = submitit.JobEnvironment()
        train = [TRAIN, *self.overrides]
        if place.num_nodes * self.processes == 1:
            return [sys.executable, *train]
        meeting = ["--standalone"]
        if place.num_nodes > 1:
            meeting = ["--rdzv-backend=c10d", f"--rdzv-endpoint={place.hostnames[0]}:29500"]
            meeting += [f"--nnodes={place.num_nodes}", f"--rdzv-id={place.job_id}"]
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--max-restarts=3"]
        return [*torchrun, *meeting, f"--nproc-per-node={self.processes}", *train]


def main(argv: Sequence[str] | None = None) -> int:
    """Submit the job, and print its number and where its output is; return the exit code."""
    options = parse(argv)
    if not any(text.startswith("output_dir=") for text in options.overrides):
        print("error: output_dir=FOLDER is needed: the run to continue", file=sys.stderr)
        return 2
    try:
        import submitit
    except ImportError:
        print(MISSING, file=sys.stderr)
        return 2
    limits = {"slurm_max_num_timeout": options.restarts}
    executor = submitit.AutoExecutor(options.jobs, options.cluster, **limits)
    executor.update_parameters(**parameters(options))
    job = executor.submit(Job(options.overrides, options.gpus or options.processes))
    print(f"job {job.job_id}; its output is in {job.paths.stdout}", flush=True)
    if options.cluster == "local":
        job.wait()
        return int(job.result())
    return 0


def parse(argv: Sequence[str] | None) -> Namespace:
    """Parse the command line."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("overrides", nargs="+", help="command line of train.py, after --")
    parser.add_argument("--cluster", choices=["slurm", "local"], default="slurm")
    parser.add_argument("--jobs", default="jobs", help="folder of the jobs' logs")
    parser.add_argument("--name", default="rednet")
    parser.add_argument("--partition")
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--gpus", type=int, default=0, help="for each node")
    parser.add_argument("--processes", type=int, default=1, help="for each node, without GPUs")
    parser.add_argument("--cpus", type=int, default=8, help="for each process")
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--restarts", type=int, default=20, help="after time limits")
    return parser.parse_args(argv)


def parameters(options: Namespace) -> dict[str, Any]:
    """Return the parameters of submitit's executor."""
    processes = options.gpus or options.processes
    parameters = {
        "name": options.name,
        "nodes": options.nodes,
        "tasks_per_node": 1,  # torchrun, which starts the processes
        "gpus_per_node": options.gpus,
        "cpus_per_task": options.cpus * processes,
        "timeout_min": round(60 * options.hours),
        "slurm_signal_delay_s": SAVE_S,
    }
    if options.partition:
        parameters["slurm_partition"] = options.partition
    return parameters


if __name__ == "__main__":
    sys.exit(main())
