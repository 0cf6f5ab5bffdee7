"""Command line of the installed package: `python -m rednet train|evaluate|... [arguments]`."""

import sys

from rednet.commands import COMMANDS
from rednet.program import DONE, WRONG_INPUT, run_program
from rednet.versions import version_line


def main() -> int:
    """Run the command that the first argument names; return the exit code."""
    return run_program(_main)


def _main() -> int:
    name, *arguments = sys.argv[1:] or ["--help"]
    name = name.replace("_", "-")  # the scripts are named with underscores
    if name in COMMANDS:
        return COMMANDS[name](arguments)
    usage = f"usage: python -m rednet [--version] {{{','.join(COMMANDS)}}} [arguments]"
    if name == "--version":
        print(version_line())
        return DONE
    if name in ("-h", "--help"):
        print(usage)
        return DONE
    print(f"error: unknown command {name!r}; {usage}", file=sys.stderr)
    return WRONG_INPUT


if __name__ == "__main__":
    sys.exit(main())
