"""Parsers of command lines that report a mistake in one line, without the usage."""

from argparse import ArgumentParser
from typing import NoReturn

from rednet.errors import InputError
from rednet.versions import version_line


class OneLineParser(ArgumentParser):
    """A parser whose mistakes are `InputError`s, which `run_program` prints in one line."""

    def error(self, message: str) -> NoReturn:
        """Report a mistake.

        Raises:
            InputError: Always.
        """
        raise InputError(message)


def command_parser(name: str, description: str | None, epilog: str | None = None) -> OneLineParser:
    """Return the parser of a command that Hydra does not compose.

    Args:
        name: Name of the command.
        description: What it does.
        epilog: What else the help says.
    """
    parser = OneLineParser(prog=f"rednet {name}", description=description, epilog=epilog)
    parser.add_argument("--version", action="version", version=version_line())
    return parser
