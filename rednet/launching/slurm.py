"""Submit trainings to Slurm by submitit; a preempted one is saved, queued again and resumed.

submitit starts a `Job` on each machine. Slurm's SIGUSR2, a moment before the time limit or a
preemption, calls `Job.checkpoint`, and what that returns is queued again.
"""

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from rednet.errors import InputError
from rednet.launching.programs import train_command

SAVE_S = 180
"""Seconds between the signal and the end of a job."""
PORT = 29500
"""Where the machines of a job meet."""


@dataclass(frozen=True)
class Resources:
    """What a job asks for.

    Attributes:
        name: Name of the job.
        folder: Folder of the jobs' logs.
        cluster: "slurm", or "local" for processes of this machine.
        partition: Slurm's partition; None for its default.
        nodes: Machines.
        gpus: GPUs of each machine.
        processes: Processes on each machine.
        cpus: CPUs for each process.
        hours: Time limit.
        restarts: How often a job is queued again after the time limit.
        at_once: Most jobs of an array at a time.
    """

    name: str
    folder: str
    cluster: str = "slurm"
    partition: str | None = None
    nodes: int = 1
    gpus: int = 0
    processes: int = 1
    cpus: int = 8
    hours: float = 24.0
    restarts: int = 20
    at_once: int = 20


class Job:
    """A training on one machine of the job.

    Args:
        overrides: Command line of `train`.
        processes: Processes on each machine.
    """

    def __init__(self, overrides: Sequence[str], processes: int) -> None:
        self.overrides, self.processes = list(overrides), processes
        self._process: subprocess.Popen[bytes] | None = None
        self._is_stopping = False

    def __call__(self) -> int:
        """Train to the end; return the exit code, which is 0.

        Raises:
            RuntimeError: The training failed.
        """
        with _held():
            # In a session of its own, which the signals for submitit do not reach.
            self._process = subprocess.Popen(
                self._command(), env=_environment(), start_new_session=True
            )
        # Slurm's warning of a preemption or cancellation, which submitit ignores.
        signal.signal(signal.SIGTERM, self._save)
        try:
            self._wait()
        finally:
            self._process.kill()
        code = self._process.wait()
        while code and self._is_stopping and "SLURM_JOB_ID" in os.environ:
            signal.pause()  # Slurm kills this process and queues it again, unless it has ended
        if code:
            raise RuntimeError(f"the training ended with exit code {code}")
        return code

    def checkpoint(self) -> Any:
        """Let the run save and end; return what continues it."""
        import submitit

        self._stop()
        if self._process is not None:
            self._wait()
        return submitit.helpers.DelayedSubmission(Job(self.overrides, self.processes))

    def _save(self, number: int, frame: FrameType | None) -> None:
        self._stop()

    def _stop(self) -> None:
        """Let the training save and end. A second signal would end it at once."""
        if not self._is_stopping and self._process is not None:
            self._process.terminate()
        self._is_stopping = True

    def _wait(self) -> None:
        """Wait for the end. A signal may interrupt this and do the same: no lock may be held."""
        assert self._process is not None
        if self._process.returncode is None:
            os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)

    def _command(self) -> list[str]:
        """Return the command for this machine."""
        import submitit

        place = submitit.JobEnvironment()
        if place.num_nodes == 1:
            return train_command(self.overrides, self.processes)
        meeting = ["--rdzv-backend=c10d", f"--rdzv-endpoint={place.hostnames[0]}:{PORT}"]
        meeting += [f"--nnodes={place.num_nodes}", f"--rdzv-id={place.job_id}"]
        return train_command(self.overrides, self.processes, meeting)


@contextmanager
def _held() -> Iterator[None]:
    """Hold submitit's signals back until there is a process to stop.

    The process inherits this: some of Slurm's plugins signal every process of a job, and SIGUSR2
    would kill torchrun, which does not know it.
    """
    numbers = {signal.SIGUSR2}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _environment() -> dict[str, str]:
    """Return the variables of a training: a torchrun that is started again must be able to join."""
    return {**os.environ, "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}


def make_executor(resources: Resources) -> Any:
    """Return submitit's executor.

    Raises:
        InputError: submitit or Slurm is missing.
    """
    try:
        import submitit
    except ImportError as error:
        raise InputError('submitit is missing: pip install "rednet[cluster]"') from error
    limits = {"slurm_max_num_timeout": resources.restarts}
    try:
        executor = submitit.AutoExecutor(resources.folder, resources.cluster, **limits)
    except RuntimeError as error:
        raise InputError("srun is not found: submit from a machine of the cluster") from error
    executor.update_parameters(**_parameters(resources))
    return executor


def _parameters(resources: Resources) -> dict[str, Any]:
    parameters = {
        "name": resources.name,
        "nodes": resources.nodes,
        "tasks_per_node": 1,  # torchrun, which starts the processes
        "gpus_per_node": resources.gpus,
        "cpus_per_task": resources.cpus * resources.processes,
        "timeout_min": round(60 * resources.hours),
        "slurm_signal_delay_s": SAVE_S,
        "slurm_array_parallelism": resources.at_once,
        # After the loss of a machine, too; clusters may have another default.
        "slurm_additional_parameters": {"requeue": True},
    }
    if resources.partition:
        parameters["slurm_partition"] = resources.partition
    return parameters
