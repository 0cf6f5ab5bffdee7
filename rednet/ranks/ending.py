"""The last words and the end of a process."""

import os
import sys
from contextlib import suppress
from threading import Timer

from rednet.screen import SCREEN
from rednet.wording import printable

LONGEST_END_S = 20.0


def print_error(text: str) -> None:
    """Print each line of a text to stderr, as an error, unless nobody can read it."""
    with suppress(OSError, ValueError):
        for line in text.split("\n"):
            print(f"error: {printable(line)}", file=sys.stderr, flush=True)


def end_now(code: int, line: str = "") -> None:
    """End the process from any thread, without waiting for the others."""
    if line:
        print_error(line)
    SCREEN.erase()
    with suppress(OSError, ValueError):  # closed, or nobody reads it
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def end_soon(code: int) -> Timer:
    """End the process if it has not done so by itself: a broken process group may hold it back.

    Returns:
        The timer, which can be cancelled.
    """
    timer = Timer(LONGEST_END_S, end_now, [code])
    timer.daemon = True
    timer.start()
    return timer
