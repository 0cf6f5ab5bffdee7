"""What a program shows on a terminal while it works, and what stays on it at the end."""

import os
import re
import subprocess
import sys
import time

import pytest
import torch
from terminal import Terminal, run_in_terminal

from rednet.screen import MARGIN, has_line
from rednet.training.log import RunLog
from rednet.training.progress import Progress
from rednet.training.step import StepResult
from rednet.training.throughput import Throughput
from rednet.training.workload import Workload
from rednet.wording import duration

HEAD = """
import os, signal, sys, warnings
from rednet.errors import InputError
from rednet.program import announce, run_program, say
from rednet.screen import SCREEN
from rednet.training.progress import Progress

def main():
"""
TAIL = "\nsys.exit(run_program(main))\n"


def run(body, folder, columns=80, **environment):
    code = HEAD + "".join(f"    {line}\n" for line in body.strip().splitlines()) + TAIL
    return run_in_terminal([sys.executable, "-c", code], folder, columns, **environment)


EVERYTHING = """
announce("loading a rather long name of a library that nobody knows")
print("printed")
print("in two ", end="")
print("parts")
announce("opening the data")
print("to stderr", file=sys.stderr)
progress = Progress(100, label="epoch 1/2")
for _ in range(3):
    progress.advance(10, "loss 2.1234  norm 1.50")
    say("x" * 90)
with SCREEN.working("saving"):
    say("below")
evaluation = Progress(50, label="epoch 1/2, evaluation", every=None)
evaluation.advance(20)
say("evaluated")
evaluation.close()
progress.close()
say("done")
return 0
"""


@pytest.mark.parametrize("columns", [80, 40, 12])
def test_only_what_was_printed_stays(columns, tmp_path):
    """Terminal knows no colours, so that there are none, with NO_COLOR or without."""
    code, terminal = run(EVERYTHING, tmp_path, columns)
    assert code == 0
    printed = [
        "printed",
        "in two parts",
        "to stderr",
        *3 * ["x" * 90],
        "below",
        "evaluated",
        "done",
        "",
    ]
    assert "\n".join(terminal.lines).replace("\n", "") == "".join(printed)
    assert terminal.lines[-1] == ""
    shown = [line for line in terminal.seen if line not in printed and "x" not in line]
    assert max(map(len, shown)) <= columns - MARGIN
    for text in ("loading a", "opening", "saving"):
        assert any(line.startswith(text) for line in shown)
    if columns >= 40:
        assert any(line.startswith("epoch 1/2  30 %") and "left" in line for line in shown)
        assert any(line.startswith("epoch 1/2, evaluation  40 %") for line in shown)


ENDS = {
    "Ctrl-C": ("os.kill(os.getpid(), signal.SIGINT)", 130, ["interrupted"]),
    "a mistake": ('raise InputError("wrong")', 2, ["error: wrong"]),
    "a warning": ('warnings.warn("look"); return 0', 0, None),
    "a bug": ("1 / 0", 1, None),
    "a text": ('raise SystemExit("text")', 1, ["text"]),
}


@pytest.mark.parametrize(("end", "code", "lines"), ENDS.values(), ids=ENDS)
def test_whatever_ends_a_program_leaves_a_clean_screen(end, code, lines, tmp_path):
    found, terminal = run(f'announce("working")\nProgress(10, label="epoch")\n{end}', tmp_path)
    assert found == code
    assert not any("working" in line or "starting" in line for line in terminal.lines)
    assert terminal.lines[-1] == ""
    if lines is not None:
        assert terminal.lines == [*lines, ""]


FORK = """
announce("working")
if (child := os.fork()) == 0:
    print("child", flush=True)
    print(SCREEN.announce("working too"), flush=True)
    os._exit(0)
os.waitpid(child, 0)
say("parent")
return 0
"""


def test_a_forked_process_prints_and_shows_nothing(tmp_path):
    code, terminal = run(FORK, tmp_path)
    assert code == 0
    assert terminal.lines == ["child", "False", "parent", ""]


CLOSED = """
announce("working")
os.close(int(os.environ["SCREEN"]))
progress = Progress(100)
progress.advance(10)
announce("still working")
say("nobody reads this")
progress.close()
open("finished", "w").close()
return 0
"""


def test_a_closed_terminal_ends_nothing(tmp_path):
    screen, keyboard = os.openpty()
    code = HEAD + "".join(f"    {line}\n" for line in CLOSED.strip().splitlines()) + TAIL
    os.set_inheritable(screen, True)
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), keyboard)
    environment = {**os.environ, "TERM": "xterm", "SCREEN": str(screen)}
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        close_fds=False,
        **streams,
    ) as process:
        os.close(screen)
        os.close(keyboard)
    assert process.returncode == 0
    assert (tmp_path / "finished").exists()


@pytest.mark.parametrize("variables", [{"RANK": "1"}, {"TERM": "dumb"}])
def test_where_no_line_is_shown(variables, tmp_path):
    _, terminal = run(EVERYTHING, tmp_path, **variables)
    assert "done" in terminal.lines
    assert not any("[#" in line for line in terminal.lines)


def test_a_pipe_has_no_line():
    screen, keyboard = os.openpty()
    reader, writer = os.pipe()
    with os.fdopen(keyboard, "w") as terminal, os.fdopen(writer, "w") as pipe:
        assert has_line(terminal, terminal) or os.environ.get("TERM", "dumb") == "dumb"
        assert not has_line(pipe, terminal)  # as before tee
        assert not has_line(terminal, pipe)
        assert not has_line(terminal, None)
    os.close(screen)
    os.close(reader)


@pytest.mark.parametrize("total", [100, None])
def test_a_line_fits_any_width(total):
    progress = Progress(total, label="epoch 12/130", enabled=False)
    for text in ("", "loss 2.1234  norm 1.50"):
        for width in range(20, 150):
            assert len(progress.describe(width)) <= max(width, len("epoch 12/130  10 %"))
        progress.advance(10, text)
    wide = progress.describe(150)
    assert "loss 2.1234" in wide and "images/s" in wide
    assert ("left" in wide) == (total is not None)


def test_throughput_counts_the_last_steps_and_not_the_first():
    throughput = Throughput()
    throughput.add(10, 100.0, 90.0)  # it compiles
    assert (throughput.images_per_second, throughput.waiting) == (0.1, 90.0)
    for _ in range(3):
        throughput.add(10, 2.0, 0.5)
    assert throughput.images_per_second == pytest.approx(5)
    assert throughput.waiting == pytest.approx(25)
    for _ in range(500):
        throughput.add(10, 1.0, 0.0)
    assert throughput.images_per_second == pytest.approx(10, rel=0.01)


def test_the_rest_of_a_run_includes_evaluations_and_saves(monkeypatch):
    """Estimated at first, then measured; their time does not count as training's."""
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    work = Workload(images_per_epoch=100, val_images=60, eval_every=3)
    progress = Progress(400, enabled=False, workload=work)
    for _ in range(10):
        clock[0] += 1.0
        progress.advance(10)
    assert progress.throughput.images_per_second == 10
    # Two evaluations, after the third epoch and the last.
    assert progress.seconds_left == pytest.approx(300 / 10 + 2 * 60 / 3 / 10)
    clock[0] += 50.0
    work.evaluation_seconds = progress.pause()
    work.completed, work.save_seconds = 3, 2.0
    assert progress.seconds_left == pytest.approx(300 / 10 + 50 + 3 * 2)
    clock[0] += 1.0
    progress.advance(10)
    assert progress.throughput.images_per_second == pytest.approx(10)


def test_the_rest_of_a_run_in_which_more_layers_train_later():
    work = Workload(100, val_images=50, cost=3.0, first_cost=1.0, first_epochs=1)
    throughput = Throughput()
    throughput.add(20, 2.0, 1.0)  # 10 images a second, half of the time waiting for data
    assert work.later_images(total=80) == 0
    later = 1 / 10 * (0.5 + 0.5 * 3)  # seconds an image
    assert work.later_rate(throughput) == pytest.approx(1 / later)
    evaluations = 3 * 50 / 10
    assert work.seconds_left(20, 300, throughput) == pytest.approx(
        80 / 10 + 200 * later + evaluations
    )
    work.completed = 1
    assert work.later_images(total=300) == 0
    evaluations = 2 * 50 / 10 * (0.5 + 0.5 / 3)
    assert work.seconds_left(100, 300, throughput) == pytest.approx(200 / 10 + evaluations)


def test_a_run_says_its_duration_again_where_more_layers_train(tmp_path):
    work, lines = Workload(120, first_cost=1.0, first_epochs=1), []
    log = RunLog(tmp_path, enabled=False, workload=work)
    log.say = lines.append
    log.open(0, 0, 360)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    for epoch in (1, 2, 3):
        log.start_epoch(epoch, 3)
        for step in range(12):
            log.step(StepResult(1.0, 10, 1.0, updated=True), 12 * epoch + step - 11, 0.1, scaler)
    assert len(lines) == 2
    assert re.search(r"data; after 1 epoch of fewer layers about [\d.]+ images/s$", lines[0])
    assert lines[1].endswith("% of the time waiting for data")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((0, "0 s"), (59.4, "59 s"), (59.6, "1 min"), (3000, "50 min"), (3599, "1 h 0 min")),
        *((12_000, "3 h 20 min"), (90_000, "1 day 1 h"), (600_000, "6 days 23 h")),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_the_terminal_of_these_tests_erases():
    terminal = Terminal(5)
    terminal.feed("abcdefg\r\x1b[Kx\r\ny")
    assert terminal.lines == ["abcde", "x", "y"]
