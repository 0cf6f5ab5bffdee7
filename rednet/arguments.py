"""Parsers of command lines that report a mistake in one line, without the usage."""

from argparse import ArgumentParser
from typing import NoReturn

from rednet.errors import InputError


class OneLineParser(ArgumentParser):
    """A parser whose mistakes are `InputError`s, which `run_program` prints in one line."""

    def error(self, message: str) -> NoReturn:
        """Report a mistake.

        Raises:
            InputError: Always.
        """
        raise InputError(message)
