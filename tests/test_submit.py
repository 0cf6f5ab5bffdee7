"""A run that is submitted by submitit is saved when it is preempted, queued again, and resumed.

Its local executor stands for Slurm: the same signal, the same requeue.
"""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SUBMIT = [sys.executable, str(ROOT / "scripts" / "submit.py")]
RUN = [
    *("experiment=smoke", "model.options.width=0.0625", "data.image_size=12", "data.num_workers=0"),
    *("data.train_samples=64", "data.val_samples=13", "data.batch_size=2", "schedule.epochs=5"),
    *("trainer.log_every=1", "trainer.device=cpu", "output_dir=run"),
]


def test_a_run_without_a_folder_is_refused():
    done = subprocess.run([*SUBMIT, "--", "model=rednet50"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: output_dir=FOLDER is needed: the run to continue\n"


def test_a_missing_submitit_is_one_line(tmp_path):
    (tmp_path / "submitit.py").write_text("raise ImportError")
    path = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [*SUBMIT, "--", "output_dir=run"]
    done = subprocess.run(command, capture_output=True, text=True, env=path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == 'error: submitit is missing: pip install "rednet[cluster]"\n'


@pytest.mark.nightly
@pytest.mark.parametrize("processes", [1, 2])
def test_a_preempted_run_is_queued_again_and_resumes(processes, tmp_path):
    options = ["--cluster", "local", "--jobs", "jobs", "--processes", str(processes), "--"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": tmp_path}
    with subprocess.Popen([*SUBMIT, *options, *RUN], **pipes) as submit:
        output = tmp_path / re.search(r"output is in (.*)\n", submit.stdout.readline())[1]
        lines = follow(output, submit)
        task = next(line for line in lines if "Starting with" in line)
        next(line for line in lines if "epoch 2/5  loss" in line)
        os.kill(task_of(output), signal.SIGUSR2)
        next(line for line in lines if "resumed after step" in line)
        assert submit.wait() == 0, (task, submit.stderr.read())
    text = output.read_text()
    assert "stopped by SIGTERM: step" in (text + errors(output))
    assert text.count("log, curves and checkpoints are in run") == 1


def follow(path, process):
    """Yield the lines of a file that a process writes, until the process ends."""
    while not path.exists():
        assert process.poll() is None
        os.sched_yield()
    with path.open() as file:
        while process.poll() is None:
            if line := file.readline():
                yield line


def task_of(output):
    """Return the process that submitit has started for its only task."""
    controller = int(re.search(r"(\d+)_0_log", output.name)[1])
    children = Path(f"/proc/{controller}/task/{controller}/children").read_text().split()
    return int(children[0])


def errors(output):
    return output.with_suffix(".err").read_text()
