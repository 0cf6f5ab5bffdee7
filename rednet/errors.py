"""Exceptions that end a program with a line instead of a traceback."""

import signal

from rednet.wording import printable

START_AGAIN = 142
"""Exit code after which the same command continues the run. Like that of any signal it is above
128, so that a scheduler needs one rule; 142 is the number of SIGALRM, the alarm clock."""


class InputError(ValueError):
    r"""The user's input is invalid; the message says what is wrong, where, and how to fix it.

    The commands print it and exit with code 2. It may quote names of files, classes and tensors
    that come from anybody, so each line is made printable: a line break in a name becomes ``\n``.

    Args:
        lines: The message, one argument for each line; most have one.

    Attributes:
        is_reported: Whether the message has been printed.
    """

    is_reported = False

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(map(printable, lines)))

    def __reduce__(self) -> tuple[type["InputError"], tuple[str, ...]]:
        return InputError, tuple(str(self).split("\n"))


class StartAgain(Exception):
    """The processes of a run cannot go on together, but the same command continues the run.

    Attributes:
        message: What has happened, in one line; empty if another process says it.
        code: Exit code of the commands.
    """

    def __init__(self, message: str, code: int = START_AGAIN) -> None:
        super().__init__(message, code)
        self.message, self.code = message, code

    def __str__(self) -> str:
        return self.message


class Stopped(BaseException):
    """A signal asked the process to stop; the commands exit with code 128 + the signal's number.

    Like `KeyboardInterrupt` it is no `Exception`, which libraries catch here and there.

    Attributes:
        signal: The signal.
        message: What was saved, in one line; empty if there was nothing to save.
    """

    def __init__(self, number: int, message: str = "") -> None:
        super().__init__(number, message)
        self.signal = signal.Signals(number)
        self.message = message

    def __str__(self) -> str:
        return ": ".join(filter(None, (f"stopped by {self.signal.name}", self.message)))
