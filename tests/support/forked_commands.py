"""Run commands in forks of a process that has imported everything, so that a start takes no time.

They are real processes, each with a process group of its own, to which signals can be sent.
"""

import json
import os
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TextIO

SERVER = """
import gc, io, json, os, signal, sys, traceback
from contextlib import redirect_stdout
from cached_configs import cached_configs
from rednet import commands

composing = cached_configs()
composing.__enter__()  # for all forks
for warm_up in json.loads(sys.argv[1]):
    with redirect_stdout(io.StringIO()):
        getattr(commands, warm_up[0])(warm_up[1:])
gc.freeze()  # The garbage collector of a fork would copy the memory that it shares.

def run(request):
    os.setsid()
    # The tests may run under nohup or in the background of a script, which ignore signals.
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in request["ignored"]:
        signal.signal(number, signal.SIG_IGN)
    # Only a terminal that is opened for reading too becomes that of the process.
    write = os.O_RDWR if request["terminal"] else os.O_WRONLY | os.O_CREAT
    for stream, path in ((0, "/dev/null"), (1, request["out"]), (2, request["err"])):
        os.dup2(os.open(path, write if stream else os.O_RDONLY), stream)
    sys.stdout, sys.stderr = open(1, "w"), open(2, "w", buffering=1)
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    code = 1
    try:
        exec(request["before"])
        argv = request["argv"]
        code = getattr(commands, argv[0])(argv[1:]) if argv else 0
    except BaseException:
        traceback.print_exc()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)  # An orderly end of a process with torch takes as long as its imports.

print("ready", flush=True)
for line in sys.stdin:
    request = json.loads(line)
    if "argv" in request:
        child = os.fork()
        if child == 0:
            run(request)
        print(child, flush=True)
    else:
        status = os.waitpid(request["wait"], 0)[1]
        print(os.waitstatus_to_exitcode(status), flush=True)
"""
ROOT, SUPPORT = Path(__file__).parents[2], Path(__file__).parent


class ForkedCommands:
    """A process that has imported everything, which forks for each command.

    Args:
        warm_up: Commands with their arguments to run first, for what is imported or cached late.
    """

    def __init__(self, *warm_up: Sequence[str]) -> None:
        self.server = subprocess.Popen(
            [sys.executable, "-c", SERVER, json.dumps(warm_up)],
            env={
                **os.environ,
                "PYTHONPATH": f"{ROOT}:{SUPPORT}:{os.environ.get('PYTHONPATH', '')}",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._receive()

    def close(self) -> None:
        """Kill the process; data loading workers may hold its pipes and keep its input open."""
        with self.server:
            self.server.kill()

    @contextmanager
    def start(
        self,
        *argv: str,
        ignored: Sequence[int] = (),
        environment: dict[str, str] | None = None,
        before: str = "",
        terminal: bool = False,
    ) -> Iterator["Process"]:
        """Start a command in the current folder; at the end of the context it is killed.

        Args:
            argv: Name in `rednet.commands`, and the arguments; without them only `before` runs.
            ignored: Signals that the process ignores, as after nohup.
            environment: Variables to add to the environment.
            before: Python code to run in the process first.
            terminal: Whether stdout and stderr are a terminal; both are then read as stdout.
        """
        with TemporaryDirectory() as folder:
            out, err = Path(folder, "out"), Path(folder, "err")
            os.mkfifo(out)
            screen = None
            if terminal:
                screen, keyboard = os.openpty()
                termios.tcsetwinsize(keyboard, (24, 100))
                out = err = Path(os.ttyname(keyboard))
            request = {
                "argv": argv,
                "ignored": [int(number) for number in ignored],
                "environment": environment or {},
                "before": before,
                "folder": os.getcwd(),
                "terminal": terminal,
                "out": str(out),
                "err": str(err),
            }
            pid = self._send(request)
            with Process(
                self, pid, open(out if screen is None else screen, newline=""), err
            ) as process:
                if terminal:
                    process.wait_for("")  # the process has opened it
                    os.close(keyboard)
                yield process

    def _send(self, request: dict[str, Any]) -> int:
        print(json.dumps(request), file=self.server.stdin, flush=True)
        return int(self._receive())

    def wait(self, pid: int) -> int:
        """Return the exit code of a process, minus the signal if one killed it."""
        return self._send({"wait": pid})

    def _receive(self) -> str:
        line = self.server.stdout.readline()
        assert line, "the server has ended"
        return line.strip()


class Process:
    """A running command.

    Attributes:
        pid: Process and process group.
        lines: What was read from its stdout.
    """

    def __init__(self, commands: ForkedCommands, pid: int, out: TextIO, err: Path) -> None:
        self.commands, self.pid, self.out, self.err_path = commands, pid, out, err
        self.lines: list[str] = []
        self.code: int | None = None

    def wait_for(self, text: str) -> str:
        """Read stdout up to a line with a text, and return the line."""
        if line := self.read_to(text):
            return line
        raise AssertionError(f"no line with {text!r} in: {''.join(self.lines)}{self.err}")

    def read_to(self, text: str) -> str | None:
        """Read stdout up to a line with a text, and return the line; None if there is none."""
        for line in self.out:
            self.lines.append(line)
            if text in line:
                return line
        return None

    def send(self, number: int, *, group: bool = False) -> None:
        """Send a signal to the process, or to it and all its workers."""
        (os.killpg if group else os.kill)(self.pid, number)

    def wait(self) -> int:
        """Wait for the end; return the exit code, minus the signal if one killed the process."""
        if self.code is None:
            with suppress(ValueError, OSError):  # closed, or the end of a terminal
                for line in self.out:
                    self.lines.append(line)
            self.code = self.commands.wait(self.pid)
        return self.code

    @property
    def err(self) -> str:
        """What is on stderr so far."""
        return self.err_path.read_text() if self.err_path.exists() else ""

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        if self.code is None:
            os.killpg(self.pid, signal.SIGKILL)
            self.wait()
        self.out.close()
