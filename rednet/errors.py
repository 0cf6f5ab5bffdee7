"""Exceptions that end a program with a line instead of a traceback."""

import signal


class InputError(ValueError):
    """The user's input is invalid; the message says what is wrong, where, and how to fix it.

    The commands print the message as one line and exit with code 2.
    """


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
