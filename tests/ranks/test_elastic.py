"""`torchrun --max-restarts` starts a run again, and it resumes by itself."""

import os
import re
import signal
from pathlib import Path

import pytest
from equal_runs import assert_equal_runs
from forked_ranks import TINY

# The agent of torchrun with the options of --standalone, whose workers are forks.
ELASTIC = """
import os, sys
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from rednet import commands

def work(argv):
    if os.environ["RANK"] == "1":
        print("worker", os.getpid(), flush=True)
    sys.exit(getattr(commands, argv[0])(argv[1:]))

config = LaunchConfig(
    min_nodes=1, max_nodes=1, nproc_per_node=2, run_id="run", rdzv_backend="c10d",
    rdzv_endpoint="localhost:0", max_restarts=2, monitor_interval=0.05, start_method="fork",
)
try:
    elastic_launch(config, work)(request["argv"])
except ChildFailedError as error:
    print(error, file=sys.stderr, flush=True)
    os._exit(1)
os._exit(0)
"""


@pytest.mark.nightly
def test_workers_that_are_killed_are_started_again_and_resume(commands, whole):
    with commands.start(*TINY, "output_dir=run", before=ELASTIC) as agent:
        for _ in range(2):
            worker = int(agent.wait_for("worker ").split()[1])
            for _ in range(3):
                agent.wait_for("  loss ")
            os.kill(worker, signal.SIGKILL)
        assert agent.wait() == 0, agent.err
        said = agent.err
    assert sum(line.startswith("resumed after") for line in agent.lines) == 2
    assert len(re.findall(r"error: rank 1 \(process \d+ on .*\) has ended", said)) == 2, said
    assert_equal_runs(Path("run"), whole)


def test_the_summary_of_torchrun_has_the_message_and_the_code(commands):
    once = ELASTIC.replace("max_restarts=2", "max_restarts=0")
    with commands.start(*TINY, "data.train_samples=20000", before=once) as agent:
        assert agent.wait() == 1
        said = agent.err
    message = "error: data.train_samples=20000: the data has only 10000 images"
    lines = [line for line in said.splitlines() if line.startswith(message)]
    assert len(lines) == 1, said
    summary = said.rpartition("Root Cause")[2]
    assert f"traceback : {message}" in summary
    assert "exitcode  : 2 " in summary
