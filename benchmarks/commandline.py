"""What the command lines of the analyses have in common: exit codes and one-line answers."""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from rednet.errors import InputError

DONE, WRONG_INPUT, INTERRUPTED = 0, 2, 130


class Parser(argparse.ArgumentParser):
    """Answers a mistake in one line."""

    def error(self, message: str) -> NoReturn:
        """Ends with exit code 2."""
        self.exit(WRONG_INPUT, f"error: {message}\n")


def run_command(command: Callable[[list[str]], None], argv: Sequence[str] | None) -> int:
    """Runs a command on its arguments, those of the process where None.

    Returns:
        The exit code: 0, 2 for wrong input, 130 after an interrupt.
    """
    try:
        command(list(sys.argv[1:] if argv is None else argv))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG_INPUT
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except SystemExit as end:
        return int(end.code or 0)
    return DONE
