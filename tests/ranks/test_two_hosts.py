"""Two network namespaces stand for two hosts, each with a `torchrun` of its own."""

import os
import re
import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from equal_runs import assert_equal_runs

ROOT = Path(__file__).parents[2]
RUN = [
    *("experiment=smoke", "model.options.width=0.0625", "data.image_size=12", "data.num_workers=0"),
    *("data.train_samples=64", "data.val_samples=13", "data.batch_size=2", "schedule.epochs=2"),
    *("trainer.log_every=1", "trainer.device=cpu", "trainer.save_every_steps=1"),
    *("trainer.ema_decay=0.9", "output_dir=run"),
]
ADDRESSES = ["10.213.77.1", "10.213.77.2"]
PORT = 29477


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


class Host:
    """A network namespace, with a working folder.

    Args:
        index: 0 for the host where the ranks meet.
        folder: Working folder of its processes.
    """

    def __init__(self, index, folder):
        self.name, self.interface = f"rednet-{os.getpid()}-{index}", f"rn{os.getpid()}{index}"
        self.address, self.folder = ADDRESSES[index], folder
        folder.mkdir(exist_ok=True)

    @contextmanager
    def torchrun(self, *overrides):
        """Start the host's part of a run; everything on the host is killed at the end."""
        command = ["ip", "netns", "exec", self.name, sys.executable, "-m", "torch.distributed.run"]
        command += ["--nnodes=2", "--nproc-per-node=1", "--max-restarts=2", "--rdzv-id=run"]
        command += ["--rdzv-backend=c10d", f"--rdzv-endpoint={ADDRESSES[0]}:{PORT}"]
        # Otherwise torchrun looks up the host's name, which both hosts share.
        command += [f"--rdzv-conf=is_host={int(self.address == ADDRESSES[0])}"]
        command += [f"--local-addr={self.address}", str(ROOT / "train.py"), *RUN, *overrides]
        variables = {"GLOO_SOCKET_IFNAME": self.interface, "PYTHONPATH": str(ROOT)}
        # Otherwise a new agent is not told in later rounds where the ranks meet (torch 2.14).
        variables["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
        pipes = {"stdout": subprocess.PIPE, "text": True, "cwd": self.folder}
        with (self.folder / "stderr").open("w") as stderr:
            process = subprocess.Popen(
                command, stderr=stderr, env={**os.environ, **variables}, **pipes
            )
        try:
            yield process
        finally:
            self.kill()
            process.wait()
            process.stdout.close()

    def kill(self):
        """Kill all processes of the host, as a loss of power would."""
        found = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True)
        for pid in map(int, found.stdout.split()):
            os.kill(pid, signal.SIGKILL)

    @property
    def err(self):
        return (self.folder / "stderr").read_text()


@pytest.fixture
def hosts(tmp_path):
    """Two hosts with a cable between them, and a disk each."""
    hosts = [Host(index, tmp_path / name) for index, name in enumerate(("first", "second"))]
    with ExitStack() as stack:
        for host in hosts:
            try:
                ip("netns", "add", host.name)
            except (OSError, subprocess.CalledProcessError):
                pytest.skip("network namespaces are not permitted here")
            stack.callback(ip, "netns", "del", host.name)
        ends = [["netns", host.name, "name", host.interface] for host in hosts]
        ip("link", "add", *ends[0][2:], *ends[0][:2], "type", "veth", "peer", *ends[1])
        for host in hosts:
            for words in (
                ["addr", "add", f"{host.address}/24", "dev", host.interface],
                ["link", "set", host.interface, "up"],
                ["link", "set", "lo", "up"],
            ):
                ip("-n", host.name, *words)
        yield hosts


def wait_for(process, text):
    for line in process.stdout:
        if text in line:
            return line
    raise AssertionError(f"no line with {text!r}")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run of two processes on one host, which nothing disturbs."""
    folder = tmp_path_factory.mktemp("whole")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command = [*torchrun, "--nproc-per-node=2", str(ROOT / "train.py"), *RUN]
    subprocess.run(command, check=True, cwd=folder, capture_output=True)
    return folder / "run"


@pytest.mark.nightly
def test_a_host_that_is_lost_and_replaced(hosts, whole):
    """Only the first host has the run's folder. Its agent waits for another second host."""
    first, second = hosts
    with first.torchrun() as agent:
        with second.torchrun():
            for _ in range(10):
                wait_for(agent, "  loss ")
            second.kill()
        with second.torchrun() as replacement:
            wait_for(agent, "resumed after step")
            out = agent.stdout.read()
            assert agent.wait() == 0, first.err
            assert replacement.wait() == 0, second.err
    assert "checkpoints are in run" in out
    assert re.search(r"error: (rank 1 \(process .*\)|a rank) has ended", first.err), first.err
    assert_equal_runs(first.folder / "run", whole)
    assert not (second.folder / "run").exists()


@pytest.mark.nightly
def test_a_host_that_does_not_answer(hosts, whole):
    """The cable is cut for a while; each host ends its part, and both resume together."""
    first, second = hosts
    second.folder = first.folder  # a shared file system
    with first.torchrun("trainer.timeout=3") as agent, second.torchrun("trainer.timeout=3"):
        for _ in range(10):
            wait_for(agent, "  loss ")
        ip("-n", second.name, "link", "set", second.interface, "down")
        line = r"error: rank 1 \(process \d+ on .*\) has not answered for 3 s, last seen at step "
        while not re.search(line, first.err):
            assert agent.poll() is None, first.err
        ip("-n", second.name, "link", "set", second.interface, "up")
        first.kill()
    with first.torchrun() as agent, second.torchrun() as other:
        wait_for(agent, "resumed after step")
        agent.stdout.read()
        assert (agent.wait(), other.wait()) == (0, 0), first.err
    assert_equal_runs(first.folder / "run", whole)
