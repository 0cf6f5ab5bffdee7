"""A run to which something happens again and again, at random moments, ends as if nothing had."""

import os
import re
import time
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from equal_runs import assert_equal_runs
from faults import FAULTS

TIMES = int(os.environ.get("REDNET_TEST_FAULTS", "50"))
KILLS = 10 * TIMES
EPOCHS, STEPS = 6, 3
RUN = [
    *("train", "experiment=smoke", "model.options.width=0.0625", "data.image_size=12"),
    *("data.train_samples=9", "data.val_samples=5", "data.batch_size=4", "augment=paper"),
    *("model.options.drop_path_rate=0.2", "trainer.ema_decay=0.9", "trainer.log_every=1"),
    *(f"schedule.epochs={EPOCHS}", "trainer.save_every_steps=1"),
    "seed=3",  # the last epoch is the best: the files of the others are not kept
]


@pytest.fixture(scope="module")
def whole(commands, tmp_path_factory):
    """The folder of an undisturbed run."""
    folder = tmp_path_factory.mktemp("chaos") / "whole"
    with commands.start(*RUN, f"output_dir={folder}") as process:
        assert process.wait() == 0, process.err
    return folder


@pytest.fixture(autouse=True)
def work_folder(tmp_path, monkeypatch):
    """An empty folder."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("kind", FAULTS)
def test_faults_between_steps(kind, commands, whole):
    """A short form of the next test: each fault once, after a random step."""
    suffer(commands, whole, kind, times=1, wait=wait_for_a_step)


@pytest.mark.nightly
@pytest.mark.parametrize("kind", FAULTS)
def test_faults_at_random_moments(kind, commands, whole):
    """Half of the moments are in the first steps after a start, half anywhere in start or run."""
    times = KILLS if kind == "killed" else TIMES
    suffer(commands, whole, kind, times, wait=wait_for_a_moment)


def suffer(commands, whole, kind, times, wait):
    """Let a fault happen to runs, each of which must end equal to the undisturbed one."""
    random, lost, done, runs = Random(0), Counter(), 0, 0
    while done < times:
        runs += 1
        done += finish(commands, f"run-{runs}", FAULTS[kind], times - done, random, lost, wait)
        assert_equal_runs(Path(f"run-{runs}"), whole)
    print(f"{kind}: {done} times in {runs} runs; steps lost, how often: {sorted(lost.items())}")
    assert max(lost) <= FAULTS[kind].most_lost


def finish(commands, folder, fault, times, random, lost, wait):
    """Start a run again after each fault until it is finished.

    Args:
        commands: Starts commands.
        folder: Folder of the run.
        fault: What happens to it.
        times: How often at most.
        random: Random moments.
        lost: Counts how often how many steps were lost.
        wait: Waits for a moment of a process.

    Returns:
        How often it happened.
    """
    faults = done = 0
    is_damaged = False
    while True:
        with commands.start(*RUN, *fault.settings, f"output_dir={folder}") as process:
            if is_struck := faults < times:
                wait(process, random)
                fault.strike(process, random)
            code = process.wait()
            output = "".join([*process.lines, process.err])
        assert code in (0, *fault.codes), output
        faults += is_struck and code in fault.codes
        resumed = resumed_step(process.lines)
        if resumed is not None:
            lost[done - resumed] += 1
            done = resumed + sum("  loss " in line for line in process.lines)
            is_said = any("passed over" in line for line in process.lines)
            assert is_said <= is_damaged, output
        if code == 0:
            return faults
        is_damaged |= fault.damage(Path(folder), random)


def wait_for_a_step(process, random):
    """Wait for one of the next steps."""
    for _ in range(random.randrange(1, 2 * STEPS)):
        if not process.read_to("  loss "):
            break


def wait_for_a_moment(process, random):
    """Wait for a random moment."""
    if random.random() < 0.5:
        process.read_to("schedule ")
        time.sleep(random.uniform(0, 0.4))
    else:
        time.sleep(random.uniform(0, 1.5))


def resumed_step(lines):
    """Return the step after which a process went on; None if it ended before it said so."""
    for line in lines:
        if match := re.match(r"resumed after (step|epoch) (\d+)", line):
            return int(match[2]) * (STEPS if match[1] == "epoch" else 1)
    return 0 if any(line.startswith("schedule ") for line in lines) else None
