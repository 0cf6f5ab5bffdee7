"""How programs end: exit codes, one-line errors, and a reader that goes away."""

import io
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rednet.errors import InputError
from rednet.program import announce, report, run_program, starting

ROOT = Path(__file__).resolve().parents[1]
TRAIN = str(ROOT / "train.py")


def stop(code):
    def main():
        raise code if isinstance(code, BaseException) else SystemExit(code)

    return main


@pytest.mark.parametrize(
    ("main", "code", "err"),
    [
        (lambda: 0, 0, ""),
        (lambda: 3, 3, ""),
        (stop(None), 0, ""),
        (stop(2), 2, ""),
        (stop(InputError("one", "two")), 2, "error: one\nerror: two\n"),
        (stop(KeyboardInterrupt()), 130, "interrupted\n"),
    ],
)
def test_exit_codes(main, code, err, capsys):
    assert run_program(main) == code
    assert capsys.readouterr() == ("", err)


@pytest.mark.parametrize("error", [ValueError("a bug"), SystemExit("a text")])
def test_bugs_pass(error):
    with pytest.raises(type(error)):
        run_program(stop(error))


def test_a_broken_pipe_that_is_not_the_output_is_a_bug(tmp_path, monkeypatch):
    with (tmp_path / "output").open("w") as file, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", file)
        patch.setattr(sys, "stderr", file)
        with pytest.raises(BrokenPipeError):
            run_program(stop(BrokenPipeError()))


def test_every_line_of_a_mistake_is_reported(capsys):
    assert report(InputError("one", "two")) == 2
    assert capsys.readouterr().err == "error: one\nerror: two\n"


def run_without_a_reader(argv, folder, **streams):
    """Run a program whose stdout is a pipe that nobody reads; return its exit code and stderr."""
    buffered = {name: text for name, text in os.environ.items() if name != "PYTHONUNBUFFERED"}
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, *argv],
            stdout=writer,
            **{"stderr": subprocess.PIPE, **streams},
            text=True,
            cwd=folder,
            env=buffered,
        )
    finally:
        os.close(writer)
    return done.returncode, done.stderr


DAILY = [
    ["-u", TRAIN, "--help"],
    [TRAIN, "--cfg", "job"],
    ["-m", "rednet"],
    [str(ROOT / "scripts" / "benchmark.py"), "--help"],
]
NIGHTLY = [
    [TRAIN, "--help"],
    [TRAIN, "--hydra-help"],
    [TRAIN, "--info", "defaults"],
    ["-m", "rednet", "evaluate", "--help"],
    [str(ROOT / "scripts" / "visualize.py"), "--help"],
    [str(ROOT / "scripts" / "kernel_report.py"), "--help"],
]
PROGRAMS = [*DAILY, *(pytest.param(argv, marks=pytest.mark.nightly) for argv in NIGHTLY)]


@pytest.mark.parametrize("argv", PROGRAMS, ids=lambda argv: " ".join(argv[-2:])[-40:])
def test_output_without_a_reader_is_no_error(argv, tmp_path):
    assert run_without_a_reader(argv, tmp_path) == (141, "")


def test_errors_without_a_reader(tmp_path):
    code, _ = run_without_a_reader([TRAIN, "modle=x"], tmp_path, stderr=subprocess.STDOUT)
    assert code == 141


PRINT = """
import sys
from rednet.cli import run

def command(config, explicit_keys):
    print("started", flush=True)
    raise SystemExit("not reached")

sys.exit(run("train", command))
"""


@pytest.mark.parametrize("argv", [["seed=1"], ["-m", "seed=1,2"]])
def test_a_run_stops_when_its_reader_has_gone(argv, tmp_path):
    assert run_without_a_reader(["-c", PRINT, *argv], tmp_path) == (141, "")


SLOW_IMPORTS = [
    [TRAIN, "experiment=smoke"],
    ["-m", "rednet", "evaluate", "checkpoint=x"],
    ["-m", "rednet", "convert-weights", "checkpoint=x", "output=y.safetensors"],
    ["-m", "rednet", "paper-tables"],
    [str(ROOT / "scripts" / "visualize.py"), "figures=schedule"],
    [str(ROOT / "scripts" / "benchmark.py"), "ceilings"],
    [str(ROOT / "scripts" / "kernel_report.py")],
]


@pytest.mark.parametrize("argv", SLOW_IMPORTS, ids=lambda argv: " ".join(argv)[-40:])
def test_a_terminal_is_told_that_torch_is_loaded(argv, tmp_path, monkeypatch):
    (tmp_path / "torch.py").write_text("raise SystemExit('torch is imported')\n")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    monkeypatch.setenv("PYTHONPATH", path)
    terminal, stderr = pty.openpty()
    done = subprocess.run(
        [sys.executable, *argv], stdout=subprocess.PIPE, stderr=stderr, cwd=tmp_path
    )
    os.close(stderr)
    said = os.read(terminal, 10_000).decode().splitlines()
    os.close(terminal)
    assert (said, done.stdout) == (["loading PyTorch ...", "torch is imported"], b"")


def test_only_terminals_of_the_first_process_are_told(capsys, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")  # has no line that can be redrawn
    announce("thinking")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("RANK", "1")
    announce("thinking")
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("RANK", "0")
    announce("thinking")
    assert capsys.readouterr() == ("", "thinking ...\n")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_every_name_can_be_printed(encoding, monkeypatch):
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(io.BytesIO(), encoding))

    def main():
        print("\u732b \udcff")
        raise InputError("no \x1b[31m\u732b\udcff")

    assert run_program(main) == 2
    out, err = (stream.buffer.getvalue().decode(encoding) for stream in (sys.stdout, sys.stderr))
    cat = "\u732b" if encoding == "utf-8" else r"\u732b"
    assert out == f"{cat} \\udcff\n"
    assert err == f"error: no \\x1b[31m{cat}\\xff\n"


FILE_NUMBER = """
import sys
from rednet.program import report, run_program, say

def main():
    say("a line")
    with open("file", "w") as file:
        file.write(str(file.fileno()))
    return report(ValueError("a mistake"))

sys.exit(run_program(main))
"""


@pytest.mark.parametrize("streams", ["<&- >&- 2>&-", ">&-", "> /dev/full 2> /dev/full"])
def test_output_that_leads_nowhere_ends_nothing(streams, tmp_path):
    """Closed streams are not taken for the files that are opened next."""
    command = ["sh", "-c", f'exec "$0" -c "$1" {streams}', sys.executable, FILE_NUMBER]
    assert subprocess.run(command, cwd=tmp_path, stderr=subprocess.PIPE).returncode == 2
    assert int((tmp_path / "file").read_text()) > 2


def test_ctrl_c_while_python_ends(tmp_path):
    """As while torch is unloaded; the exit code of a shell is 130."""
    program = """
import atexit, os, signal
from rednet.program import run_program
atexit.register(os.kill, os.getpid(), signal.SIGINT)
run_program(lambda: 0)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, b"")


def test_ctrl_c_during_an_import(capsys):
    with pytest.raises(SystemExit, match="130"), starting():
        raise KeyboardInterrupt
    assert capsys.readouterr() == ("", "interrupted\n")


def test_ctrl_c_that_a_library_turns_into_another_error(capsys):
    def main():
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ImportError("cannot load module more than once per process") from None

    assert run_program(main) == 130
    assert capsys.readouterr() == ("", "interrupted\n")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
