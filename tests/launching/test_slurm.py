"""A run that is submitted by submitit is saved when it is preempted, queued again, and resumed.

Its local executor stands for Slurm: the same signal, the same requeue.
"""

import os
import pickle
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

# Its import closes the handlers of all loggers, and absl's closes a stream that a test captures:
# it has to come before any test.
import submitit  # noqa: F401

from rednet.commands import launch_table, submit
from rednet.launching.slurm import Job

SUBMIT = [sys.executable, "-m", "rednet", "submit"]
RUN = [
    *("experiment=smoke", "model.options.width=0.0625", "data.image_size=12", "data.num_workers=0"),
    *("data.train_samples=64", "data.val_samples=13", "data.batch_size=2", "schedule.epochs=5"),
    *("trainer.log_every=1", "trainer.device=cpu", "output_dir=run"),
]
SBATCH = """#!/bin/sh
cat "$1" >script.sh
echo Submitted batch job 7
"""


def test_a_run_without_a_folder_is_refused(capsys):
    assert submit(["--", "model=rednet50"]) == 2
    assert capsys.readouterr() == ("", "error: output_dir=FOLDER is needed: the run to continue\n")


def test_a_missing_submitit_is_one_line(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "submitit", None)
    assert submit(["--", "output_dir=run"]) == 2
    line = 'error: submitit is missing: pip install "rednet[cluster]"\n'
    assert capsys.readouterr() == ("", line)


def test_a_missing_slurm_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert submit(["--jobs", str(tmp_path), "--", "output_dir=run"]) == 2
    assert capsys.readouterr().err.startswith("error: srun is not found: submit from a ")


def test_the_table_is_an_array_of_jobs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, script in (("sbatch", SBATCH), ("srun", "")):
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    arguments = ["--slurm", "--partition", "gpu", "--hours", "1.5", "--at-once", "3"]
    assert launch_table([*arguments, "--data-root", "images"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 20
    output = tmp_path / "jobs/7_1_0_log.out"
    assert lines[1] == f"job 7_1: rednet38-seed0; its output is in {output}"
    flags = (tmp_path / "script.sh").read_text().splitlines()
    expected = ["array=0-19%3", "job-name=rednet-table", "partition=gpu", "requeue", "time=90"]
    expected += ["signal=USR2@180", "ntasks-per-node=1", "gpus-per-node=8", "cpus-per-task=96"]
    assert {f"#SBATCH --{flag}" for flag in expected} <= set(flags)
    job = pickle.loads((tmp_path / "jobs/7_1_submitted.pkl").read_bytes()).function
    assert "model=rednet38" in job.overrides
    # submitit's process on the machine of the job imports it.
    assert type(job) is Job


@pytest.mark.nightly
@pytest.mark.parametrize("signals", [["SIGUSR2"], ["SIGTERM", "SIGUSR2"]], ids=" ".join)
@pytest.mark.parametrize("processes", [1, 2])
def test_a_preempted_run_is_queued_again_and_resumes(processes, signals, tmp_path):
    """Slurm may warn by SIGTERM before SIGUSR2, which must not end the run before it is saved."""
    options = ["--cluster", "local", "--jobs", "jobs", "--processes", str(processes), "--"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": tmp_path}
    with subprocess.Popen([*SUBMIT, *options, *RUN], **pipes) as process:
        output = tmp_path / re.search(r"output is in (.*)\n", process.stdout.readline())[1]
        lines = follow(output, process)
        task = next(line for line in lines if "Starting with" in line)
        next(line for line in lines if "epoch 2/5  loss" in line)
        for name in signals:
            os.kill(task_of(output), getattr(signal, name))
        next(line for line in lines if "resumed after step" in line)
        assert process.wait() == 0, (task, process.stderr.read())
    text = output.read_text()
    assert "stopped by SIGTERM: step" in (text + errors(output))
    assert text.count("log, curves and checkpoints are in run") == 1


def follow(path, process):
    """Yield the lines of a file that a process writes, until the process ends."""
    tail = ["tail", "--lines=+1", "--follow=name", "--retry", f"--pid={process.pid}", str(path)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen(tail, **pipes) as lines:
        yield from lines.stdout


def task_of(output):
    """Return the process that submitit has started for its only task."""
    controller = int(re.search(r"(\d+)_0_log", output.name)[1])
    children = Path(f"/proc/{controller}/task/{controller}/children").read_text().split()
    return int(children[0])


def errors(output):
    return output.with_suffix(".err").read_text()
