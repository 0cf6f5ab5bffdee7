"""A logger that fails costs one warning; the others get everything."""

import pytest
from PIL import Image

from rednet.loggers.group import LoggerGroup


class Recorder:
    """Remembers what it was given, and fails where it is told to."""

    def __init__(self, failing=()):
        self.failing, self.taken, self.place = set(failing), [], "somewhere"

    def __getattr__(self, name):
        def act(*arguments):
            if name in self.failing:
                raise RuntimeError("it is gone")
            self.taken.append((name, *arguments))

        return act


CALLS = ("scalars", "image", "text", "hparams", "flush", "close")


def report(group):
    group.open(1)
    for step in (1, 2, 3):
        group.scalars({"loss": 0.5}, step)
        group.image("images", Image.new("RGB", (2, 2)), step)
        group.flush()
    group.close()


@pytest.mark.parametrize("call", CALLS)
def test_one_warning_for_all_failures_of_a_kind(call, capsys):
    bad, good = Recorder([call]), Recorder()
    loggers = {"bad": lambda _: bad, "good": lambda _: good}
    report(LoggerGroup(loggers, "seed: 0\n", {"seed": 0}))
    lines = capsys.readouterr().out.splitlines()
    warnings = [line for line in lines if line.startswith("warning: cannot write")]
    assert len(warnings) == 1 and "it is gone; training goes on" in warnings[0]
    counts = {name: sum(entry[0] == name for entry in good.taken) for name in CALLS}
    assert counts == {"scalars": 3, "image": 3, "text": 1, "hparams": 1, "flush": 4, "close": 1}


def test_a_logger_that_cannot_be_made(capsys):
    def fail(_):
        raise OSError(5, "Input/output error")

    good = Recorder()
    report(LoggerGroup({"bad": fail, "good": lambda _: good}))
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("warning: cannot write by the logger bad: Input/output error")
    assert good.taken[-1] == ("close",)


def test_it_says_so_when_it_succeeds_again(capsys):
    bad = Recorder(["flush"])
    group = LoggerGroup({"bad": lambda _: bad})
    group.open(1)
    bad.failing.clear()
    group.flush()
    assert capsys.readouterr().out.splitlines()[-1] == "somewhere is written again"
