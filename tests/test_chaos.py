"""A run that is killed again and again, at random moments, loses nothing but the last steps."""

import os
import random
import re
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from equal_runs import assert_equal_runs
from forked_commands import ForkedCommands

KILLS = int(os.environ.get("REDNET_TEST_KILLS", "500"))
EPOCHS, STEPS = 10, 6
RUN = [
    *("train", "experiment=smoke", "model.options.width=0.0625", "data.image_size=12"),
    *("data.train_samples=21", "data.val_samples=12", "data.batch_size=4", "augment=paper"),
    *("model.options.drop_path_rate=0.2", "trainer.ema_decay=0.9", "trainer.log_every=1"),
    *(f"schedule.epochs={EPOCHS}", "trainer.save_every_steps=1"),
]
MOST_LOST = 2
"""A step whose save waits for the save before, which is not complete."""


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Runs commands in forks, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    commands = ForkedCommands([*RUN, "output_dir=whole"])
    yield commands
    commands.close()


@pytest.mark.nightly
def test_killed_at_random_moments(commands):
    """Half of the moments are in the first steps after a start, half anywhere in start or run."""
    moments, lost = random.Random(0), Counter()
    kills = runs = 0
    while kills < KILLS:
        runs += 1
        kills += kill_until_finished(commands, f"run-{runs}", moments, KILLS - kills, lost)
        assert_equal_runs(Path(f"run-{runs}"), Path("whole"))
        print(f"{kills} kills in {runs} runs; steps lost, and how often: {sorted(lost.items())}")
    assert max(lost) <= MOST_LOST


def kill_until_finished(commands, folder, moments, most_kills, lost):
    """Start a run again after each kill until it is finished.

    Args:
        commands: Starts commands.
        folder: Folder of the run.
        moments: Random moments.
        most_kills: Most kills.
        lost: Counts how often how many steps were lost.

    Returns:
        The number of kills.
    """
    kills = done = 0
    while True:
        with commands.start(*RUN, f"output_dir={folder}") as process:
            if kills < most_kills:
                wait(process, moments)
                process.send(signal.SIGKILL, group=True)
            code = process.wait()
        assert code in (0, -signal.SIGKILL), [*process.lines, process.err]
        assert not any("passed over" in line for line in process.lines)
        resumed = resumed_step(process.lines)
        if resumed is not None:
            lost[done - resumed] += 1
            done = resumed + sum("  loss " in line for line in process.lines)
        if code == 0:
            return kills
        kills += 1


def wait(process, moments):
    """Wait for a random moment."""
    if moments.random() < 0.5:
        process.wait_for("lr ")
        time.sleep(moments.uniform(0, 0.4))
    else:
        time.sleep(moments.uniform(0, 1.5))


def resumed_step(lines):
    """Return the step after which a process went on; None if it was killed before it said so."""
    for line in lines:
        if match := re.match(r"resumed after (step|epoch) (\d+)", line):
            return int(match[2]) * (STEPS if match[1] == "epoch" else 1)
    return 0 if any(line.startswith("lr ") for line in lines) else None
