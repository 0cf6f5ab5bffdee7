"""A signal stops a run between two steps, and the same command continues it."""

import os
import re
import signal
from pathlib import Path

import pytest
from equal_runs import assert_equal_runs
from filelock import FileLock
from terminal import Terminal

from rednet import signals
from rednet.errors import InputError, Stopped
from rednet.signals import StopSignals

EPOCHS, STEPS = 3, 4
RUN = [
    *("train", "experiment=smoke", "model.options.width=0.0625", "data.image_size=12"),
    *("data.train_samples=16", "data.val_samples=200", "data.batch_size=4"),
    *(f"schedule.epochs={EPOCHS}", "trainer.log_every=1", "trainer.ema_decay=0.9"),
]
WORKERS = "data.num_workers=2"


@pytest.fixture(autouse=True)
def work_folder(tmp_path, monkeypatch):
    """An empty folder."""
    monkeypatch.chdir(tmp_path)


def stop(process, number, step, times=1):
    """Send a signal once a step is complete, and check how the process ends."""
    for _ in range(step - resumed_step(process)):
        process.wait_for("  loss ")
    for _ in range(times):
        process.send(number, group=True)
    assert process.wait() == 128 + number, process.err
    line = rf"stopped by {number.name}: step (\d+) was saved \d+\.\d s after the signal; the same "
    match = re.fullmatch(line + r"command with output_dir=\S+ resumes\n", process.err)
    assert match, process.err
    return int(match[1])


def resumed_step(process):
    """Return the step after which a process goes on."""
    process.wait_for("schedule ")
    found = [re.match(r"resumed after step (\d+)", line) for line in process.lines]
    return next((int(match[1]) for match in found if match), 0)


def test_the_same_command_resumes_after_each_signal(commands):
    """Sent to all processes, data workers included; the reference is a run under nohup."""
    with commands.start(*RUN, "output_dir=whole", ignored=[signal.SIGHUP]) as process:
        process.wait_for("  loss ")
        process.send(signal.SIGHUP, group=True)
        assert process.wait() == 0, process.err
    run = [*RUN, WORKERS, "output_dir=cut"]
    in_evaluation = STEPS
    plan = [(signal.SIGTERM, 1), (signal.SIGINT, in_evaluation), (signal.SIGHUP, STEPS + 2)]
    for number, step in plan:
        with commands.start(*run) as process:
            saved = stop(process, number, step)
        assert saved >= step
        assert saved < STEPS or step != 1
    with commands.start(*run) as process:
        assert stop(process, signal.SIGUSR1, STEPS + 5, times=2) >= STEPS + 5
    with commands.start(*run) as process:
        assert process.wait() == 0, process.err
        assert process.err == ""
    assert_equal_runs(Path("cut"), Path("whole"))


def test_a_signal_at_the_start_leaves_the_folder_as_it_is(commands):
    Path("run").mkdir()
    with FileLock("run/.lock"), commands.start(*RUN, "output_dir=run") as process:
        process.wait_for("waiting up to")
        process.send(signal.SIGTERM)
        assert process.wait() == 143
        assert process.err == "stopped by SIGTERM\n"
    assert os.listdir("run") == [".lock"]


def test_a_second_signal_ends_at_once(commands):
    """While a save waits for a disk that does not answer."""
    with commands.start(*RUN, "output_dir=run", before=NO_ECHO) as process:
        process.wait_for("schedule ")
        block_saves(Path("run"), process.pid)
        process.wait_for("  loss ")
        process.send(signal.SIGTERM)
        process.wait_for("SIGTERM: saving; the longest save so far took 0.0 s")
        process.send(signal.SIGTERM)
        assert process.wait() == -signal.SIGTERM


NO_ECHO = "import rednet.signals; rednet.signals.ECHO_S = 0"


def block_saves(run, pid):
    """Put pipes without a reader where a process writes its checkpoints inside the first epoch."""
    (run / "checkpoints").mkdir()
    for step in range(1, STEPS + 1):
        name = f".epoch-0001-step-{step:08d}.pt.{pid}.partial"
        os.mkfifo(run / "checkpoints" / name)


def test_a_closed_terminal(commands):
    """The kernel sends SIGHUP, and nothing can be printed any more."""
    with commands.start(*RUN, "output_dir=run", terminal=True) as process:
        process.wait_for("loss ")
        process.out.close()
        assert process.wait() == 129
    assert Path("run/checkpoints/last.pt").exists()


def test_ctrl_c_leaves_a_clean_terminal(commands):
    """Nothing of the bar is left, with two data workers that were forked while it was shown."""
    terminal = Terminal(100)
    with commands.start(
        *RUN, WORKERS, "output_dir=run", terminal=True, environment={"TERM": "xterm"}
    ) as process:
        process.wait_for("epoch 1/3 ")
        process.send(signal.SIGINT, group=True)
        assert process.wait() == 130
    terminal.feed("".join(process.lines))
    assert terminal.lines[-1] == ""
    assert any(line.startswith("stopped by SIGINT: step ") for line in terminal.lines)
    assert not any("[" in line for line in terminal.lines)


def test_the_program_that_read_the_output_ends_first(commands):
    """As in `train.py | tee log` after Ctrl-C."""
    with commands.start(*RUN, "output_dir=run") as process:
        process.wait_for("  loss ")
        process.out.close()
        process.send(signal.SIGINT)
        assert process.wait() == 130
        assert process.err.startswith("stopped by SIGINT: step ")
    assert Path("run/checkpoints/last.pt").exists()


def test_a_signal_that_comes_too_late_still_ends_a_sweep():
    late = pytest.raises(Stopped, match="SIGUSR1: nothing was left to do")
    with late, StopSignals().caught() as caught, caught.deferred():
        os.kill(os.getpid(), signal.SIGUSR1)


def test_what_a_library_makes_of_the_exception_does_not_matter():
    with pytest.raises(Stopped), StopSignals().caught():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except BaseException:
            raise ImportError from None


def test_an_error_while_saving_is_not_hidden():
    with pytest.raises(InputError), StopSignals().caught() as caught, caught.deferred():
        os.kill(os.getpid(), signal.SIGTERM)
        raise InputError("the disk is full")


def test_handlers_are_restored(monkeypatch):
    monkeypatch.setattr(signals, "ECHO_S", 60)
    before = [signal.getsignal(number) for number in signals.STOP_SIGNALS]
    with pytest.raises(Stopped), StopSignals().caught():
        os.kill(os.getpid(), signal.SIGTERM)
    assert [signal.getsignal(number) for number in signals.STOP_SIGNALS] == before
