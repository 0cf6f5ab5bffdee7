"""What the command lines share: exit codes, one-line errors, the folder of the results."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from rednet.errors import InputError
from rednet.program import DONE, WRONG_INPUT, run_program


class Parser(argparse.ArgumentParser):
    """A parser that reports a mistake in one line."""

    def error(self, message: str) -> NoReturn:
        """Print the message and exit with code 2."""
        self.exit(WRONG_INPUT, f"error: {message}\n")


def run_command(command: Callable[[list[str]], None], argv: Sequence[str] | None) -> int:
    """Run a command on its arguments; None means the arguments of the process.

    Returns:
        The exit code, as `run_program` returns it.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)

    def main() -> int:
        command(arguments)
        return DONE

    return run_program(main)


def output_path(text: str) -> Path:
    """Return the path that the user gives; shells leave ``~`` alone in ``--output=~/folder``."""
    return Path(os.path.expanduser(text))


def make_output_folder(folder: Path) -> None:
    """Create the folder of the results.

    Raises:
        InputError: It cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--output {folder}: {error.strerror}") from error
