"""The last line of a terminal, which shows what the program is doing.

It is redrawn twice a second, so that the user sees that the program lives, and makes room for all
that is printed. Output that goes to a file or a pipe has no such line.
"""

import os
import stat
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TextIO, cast

ERASE = "\r\x1b[K"
REDRAW_S = 0.5
DEFAULT_WIDTH = 80
MARGIN = 3
"""Columns that stay empty, since a terminal prints ^C behind the text."""


class Activity(Protocol):
    """Something that takes time."""

    def describe(self, width: int) -> str:
        """Return what to show of it now, in at most `width` columns."""


class Working:
    """An activity of which nothing is known but how long it has taken.

    Args:
        what: What is being done.
    """

    def __init__(self, what: str) -> None:
        self.what, self._start = what, time.monotonic()

    def describe(self, width: int) -> str:
        """Return what is being done and, from the first second on, for how long."""
        seconds = int(time.monotonic() - self._start)
        return f"{self.what} ..." + (f" {seconds} s" if seconds else "")


class Screen:
    """Shows the newest of several activities in the last line of the terminal.

    While it shows one, it stands in for stdout and stderr: what is printed appears above the line.
    An error of the terminal, which may be closed, ends the display and nothing else.
    """

    def __init__(self) -> None:
        self._is_the_parents = False
        self._forget()
        if hasattr(os, "register_at_fork"):  # not on Windows
            os.register_at_fork(after_in_child=self._leave_to_parent)

    def _forget(self) -> None:
        self._activities: list[Activity] = []
        self._announced: Activity | None = None
        self._lock = threading.RLock()
        self._stopped = threading.Event()
        self._streams: dict[str, TextIO] = {}
        self._is_within_line = False

    def announce(self, what: str | None) -> bool:
        """Show what is being done until something else is announced.

        Args:
            what: What is being done; None if nothing of note.

        Returns:
            Whether the terminal has such a line.
        """
        with self._lock:
            previous, self._announced = self._announced, Working(what) if what else None
            is_shown = self._announced is not None and self.show(self._announced)
            if previous is not None:
                self.remove(previous)
            return is_shown

    @contextmanager
    def working(self, what: str) -> Iterator[bool]:
        """Show what the context does; yield whether the terminal has a line for that."""
        activity = Working(what)
        is_shown = self.show(activity)
        try:
            yield is_shown
        finally:
            self.remove(activity)

    def show(self, activity: Activity) -> bool:
        """Show an activity until it is removed; return whether the terminal has a line for that."""
        with self._lock:
            if self._is_the_parents or not (self._streams or self._open()):
                return False
            self._activities.append(activity)
            self._draw()
            return True

    def remove(self, activity: Activity) -> None:
        """Show the activity before this one, if there is one."""
        with self._lock:
            self._activities = [each for each in self._activities if each is not activity]
            if self._activities:
                self._draw()
            else:
                self.clear()

    def clear(self) -> None:
        """Remove all activities, and give the streams back."""
        with self._lock:
            self.erase()
            self._restore()
            self._activities, self._announced = [], None

    def erase(self) -> None:
        """Erase the line until it is drawn again."""
        if self._streams and not self._is_within_line:
            self._write(ERASE)

    @contextmanager
    def above(self, text: str) -> Iterator[None]:
        """Make room for a text that the context prints."""
        with self._lock:
            self.erase()
            self._is_within_line = not text.endswith("\n")
            yield
            self._draw()

    def _open(self) -> bool:
        """Stand in for the streams, if stderr is a terminal that can erase a line."""
        if not has_line(sys.stdout, sys.stderr):
            return False
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is not None and stream.isatty():
                self._streams[name] = stream
                setattr(sys, name, cast(TextIO, _Above(stream, self)))
        self._stopped = threading.Event()
        threading.Thread(target=self._redraw, args=(self._stopped,), daemon=True).start()
        return True

    def _restore(self) -> None:
        self._stopped.set()
        for name, stream in self._streams.items():
            if isinstance(getattr(sys, name), _Above):
                setattr(sys, name, stream)
        self._streams = {}
        self._is_within_line = False

    def _redraw(self, stopped: threading.Event) -> None:
        while not stopped.wait(REDRAW_S):
            with self._lock:
                if not stopped.is_set():
                    self._draw()

    def _draw(self) -> None:
        if not self._activities or self._is_within_line or not self._streams:
            return
        width = _width(self._streams["stderr"]) - MARGIN
        self._write(ERASE + self._activities[-1].describe(width)[:width])

    def _write(self, text: str) -> None:
        # Not by the stream: a process forked from this one would print what is in its buffer.
        stream = self._streams["stderr"]
        try:
            os.write(stream.fileno(), text.encode(stream.encoding, "replace"))
        except OSError:
            self._restore()

    def _leave_to_parent(self) -> None:
        """Let a process forked meanwhile, such as a data worker, only erase the parent's line."""
        self._is_the_parents = self._is_the_parents or bool(self._streams)
        streams = self._streams
        self._forget()
        self._streams = streams


class _Above:
    """Stands in for a stream of the terminal, and prints above the last line."""

    def __init__(self, stream: TextIO, screen: Screen) -> None:
        self._stream, self._screen = stream, screen

    def write(self, text: str) -> int:
        with self._screen.above(text):
            return self._stream.write(text)

    def writelines(self, lines: Any) -> None:
        self.write("".join(lines))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def has_line(stdout: TextIO | None, stderr: TextIO | None) -> bool:
    """Return whether the terminal has a line that can be redrawn.

    It has none if stdout is a pipe, which often ends in the same terminal, as with `tee`. Of
    several processes only the first one uses it.
    """
    if stderr is None or not stderr.isatty() or os.environ.get("RANK", "0") != "0":
        return False
    return os.environ.get("TERM", "dumb") != "dumb" and not _is_pipe(stdout)


def _is_pipe(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):  # a stream without a file
        return False


def _width(terminal: TextIO) -> int:
    try:
        return os.get_terminal_size(terminal.fileno()).columns or DEFAULT_WIDTH
    except OSError:
        return DEFAULT_WIDTH


SCREEN = Screen()
"""The screen of this process."""
