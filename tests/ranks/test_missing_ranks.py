"""A rank that stands still, has died or has failed ends the run on all ranks, in time."""

import re
import signal
import socket
from pathlib import Path

import pytest
from equal_runs import assert_equal_runs
from forked_ranks import TINY, run_to_the_end, start_ranks

RUN = [*TINY, "trainer.timeout=1"]
RESUME = r"; the same command resumes from run/checkpoints/epoch-\d{4}(-step-\d{8})?\.pt\n"


@pytest.mark.parametrize("still", [0, pytest.param(1, marks=pytest.mark.nightly)])
def test_a_rank_that_stands_still_is_named_by_the_other(still, commands, whole):
    """When it continues it ends, too, and the same command resumes the run."""
    argv = [*RUN, "output_dir=run"]
    with start_ranks(commands, argv, argv) as ranks:
        for _ in range(3):
            ranks[0].wait_for("  loss ")
        ranks[still].send(signal.SIGSTOP)
        other = ranks[1 - still]
        assert other.wait() == 142, other.err
        who = f"error: rank {still} (process {ranks[still].pid} on {socket.gethostname()})"
        line = re.escape(f"{who} has not answered for 1 s, last seen at step ") + r"\d+"
        assert re.fullmatch(line + RESUME, other.err), other.err
        ranks[still].send(signal.SIGCONT)
        assert ranks[still].wait() == 142
        assert ranks[still].err == ""
    run_to_the_end(commands, "run")
    assert_equal_runs(Path("run"), whole)


HUNG_DISK = """
import os
os.makedirs("run/checkpoints")
for step in range(2, 17):
    os.mkfifo(f"run/checkpoints/.epoch-0001-step-{step:08d}.pt.{os.getpid()}.partial")
"""


def test_a_rank_whose_disk_hangs_is_named_by_the_other(commands):
    argv = [*RUN, "output_dir=run"]
    with start_ranks(commands, argv, argv, before=(HUNG_DISK, "")) as ranks:
        assert [rank.wait() for rank in ranks] == [142, 142], [rank.err for rank in ranks]
        line = (
            r"error: rank 0 \(process \d+ on .*\) has made no progress for 1 s, last seen at step 3"
        )
        assert re.fullmatch(line + RESUME, ranks[1].err), ranks[1].err
        assert ranks[0].err == ""


def test_a_rank_that_was_killed_is_named_at_once(commands):
    argv = [*RUN, "trainer.timeout=600", "output_dir=run"]
    with start_ranks(commands, argv, argv) as ranks:
        ranks[0].wait_for("  loss ")
        ranks[1].send(signal.SIGKILL)
        assert ranks[1].wait() == -signal.SIGKILL
        assert ranks[0].wait() == 142
        line = rf"error: rank 1 \(process {ranks[1].pid} on .*\) has ended, last seen at step \d+"
        assert re.match(line, ranks[0].err), ranks[0].err


MISTAKES = {
    "a key": ("modle=rednet26", "'modle'"),
    "a folder": ("data.root=missing", "missing"),
    "a checkpoint": ("checkpoint=missing.pt", "missing.pt"),
    "a setting": ("data.train_samples=20000", "data.train_samples=20000"),
}


NIGHTLY = [pytest.mark.nightly]
CASES = [
    pytest.param(
        made_by,
        *MISTAKES[name],
        id=f"{made_by}-{name}",
        # At every commit each mistake is made once.
        marks=[] if (made_by == "both") == (name in ("a key", "a checkpoint")) else NIGHTLY,
    )
    for name in MISTAKES
    for made_by in ("both", "the second")
]


@pytest.mark.parametrize(("made_by", "mistake", "text"), CASES)
def test_a_mistake_is_printed_once_and_ends_all(made_by, mistake, text, commands):
    argvs = [[*RUN, "output_dir=run"] for _ in range(2)]
    for argv in argvs if made_by == "both" else argvs[1:]:
        argv.append(mistake)
    with start_ranks(commands, *argvs) as ranks:
        assert [rank.wait() for rank in ranks] == [2, 2], [rank.err for rank in ranks]
        (line,) = "".join(rank.err for rank in ranks).splitlines()
        assert line.startswith("error: ")
        assert text in line
        if made_by != "both":
            assert ranks[0].err == ""


FAKE_GPU = """
import dataclasses, warnings
from rednet.ops import register_backend, registered_backends

warnings.simplefilter("ignore")

def unavailable_reason(device, dtype, calls=[]):
    from rednet.ops.broken_backend import BrokenBackend
    calls.append(None)
    return BrokenBackend("it is out of memory") if {condition} else None

native = next(each for each in registered_backends() if each.name == "native")
fake = dataclasses.replace(native, name="fake", unavailable_reason=unavailable_reason)
register_backend(fake, before="cuda")
"""
WORKS, BROKEN, FAILS_LATER = (
    FAKE_GPU.format(condition=condition) for condition in ("False", "True", "len(calls) > 500")
)


def test_a_rank_without_the_backend_of_the_others_is_refused(commands):
    argv = [*RUN, "output_dir=run"]
    with start_ranks(commands, argv, argv, before=(WORKS, BROKEN)) as ranks:
        assert [rank.wait() for rank in ranks] == [2, 2], [rank.err for rank in ranks]
        assert "".join(rank.err for rank in ranks) == (
            "error: the processes would compute with different backends: on rank 1 backend 'fake' "
            "cannot run: it is out of memory\n"
        )


def test_a_rank_whose_backend_fails_ends_all(commands):
    argv = [*RUN, "output_dir=run"]
    with start_ranks(commands, argv, argv, before=(WORKS, FAILS_LATER)) as ranks:
        assert [rank.wait() for rank in ranks] == [142, 142], [rank.err for rank in ranks]
        assert "".join(rank.err for rank in ranks) == (
            "error: backend 'fake' has worked so far and cannot run now: it is out of memory; the "
            "same command resumes the run in run\n"
        )
    assert Path("run/checkpoints/last.pt").exists()
