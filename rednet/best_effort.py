"""Outputs that a program can do without: an error is a warning, and a later attempt may succeed."""

from collections.abc import Iterator
from contextlib import contextmanager

from rednet.errors import InputError
from rednet.program import say
from rednet.wording import printable


class BestEffort:
    """Attempts to write an output. The first error is reported, then the first success after it.

    Args:
        consequence: What an error means for the user, in a few words.

    Attributes:
        failure: Why the last attempt failed, None if it did not.
    """

    def __init__(self, consequence: str) -> None:
        self.consequence = consequence
        self.failure: str | None = None

    @contextmanager
    def write(self, what: str) -> Iterator[None]:
        """Turn an exception of the context into a warning.

        Args:
            what: What the context writes, such as a path.

        Raises:
            InputError: The context raised it; it is meant for the user and ends the program.
        """
        try:
            yield
        except InputError:
            raise
        except Exception as error:
            is_first = self.failure is None
            self.failure = f"cannot write {printable(what)}: {reason_of(error)}"
            if is_first:
                say(f"warning: {self.failure}; {self.consequence}")
        else:
            if self.failure is not None:
                say(f"{printable(what)} is written again")
            self.failure = None


def reason_of(error: BaseException) -> str:
    """Return why something failed, in one line: the system's words where there are any."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = str(error).splitlines()
    return printable(f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__)
