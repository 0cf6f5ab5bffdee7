"""A terminal for programs under test, which remembers what it has shown."""

import os
import pty
import subprocess
import termios
from collections.abc import Sequence
from pathlib import Path


class Terminal:
    """Interprets what a program prints, as far as this project's programs need it.

    Args:
        columns: Width.

    Attributes:
        lines: What is on the screen; the cursor is in the last line.
        seen: Last line at each redraw.
    """

    def __init__(self, columns: int = 80) -> None:
        self.columns = columns
        self.lines = [""]
        self.seen: list[str] = []
        self._at = 0

    def feed(self, text: str) -> None:
        """Show a text."""
        while text:
            if text.startswith("\x1b[K"):
                self.lines[-1] = self.lines[-1][: self._at]
                text = text[3:]
                continue
            self._put(text[0])
            text = text[1:]

    def _put(self, character: str) -> None:
        if character == "\r":
            self.seen.append(self.lines[-1])
            self._at = 0
        elif character == "\n":
            self.lines.append("")
            self._at = 0
        else:
            assert character.isprintable(), repr(character)
            if self._at == self.columns:
                self._put("\n")
            line = self.lines[-1]
            self.lines[-1] = line[: self._at] + character + line[self._at + 1 :]
            self._at += 1


def run_in_terminal(
    command: Sequence[str], folder: Path, columns: int = 80, **environment: str
) -> tuple[int, Terminal]:
    """Run a program on a terminal; return its exit code and the terminal."""
    screen, keyboard = pty.openpty()
    termios.tcsetwinsize(keyboard, (24, columns))
    terminal = Terminal(columns)
    variables = {**os.environ, "TERM": "xterm", **environment}
    with subprocess.Popen(
        command, cwd=folder, env=variables, stdin=keyboard, stdout=keyboard, stderr=keyboard
    ) as process:
        os.close(keyboard)
        read_all(screen, terminal)
    os.close(screen)
    return process.returncode, terminal


def read_all(screen: int, terminal: Terminal) -> None:
    """Show all that programs print on a terminal until the last one has closed it."""
    content = b""
    while True:
        try:
            content += os.read(screen, 100_000)
        except OSError:  # how Linux says that nobody is left
            break
    terminal.feed(content.decode())
