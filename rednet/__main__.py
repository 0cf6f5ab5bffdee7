"""The commands from an installed package: `python -m rednet train|evaluate|... [arguments]`."""

import sys

from rednet.commands import COMMANDS


def main() -> int:
    """Runs the command that the first argument names; returns the exit code."""
    name, *arguments = sys.argv[1:] or ["--help"]
    name = name.replace("_", "-")  # as the scripts are called
    if name in COMMANDS:
        return COMMANDS[name](arguments)
    usage = f"usage: python -m rednet {{{','.join(COMMANDS)}}} [arguments]"
    if name in ("-h", "--help"):
        print(usage)
        return 0
    print(f"error: no command is named {name!r}; {usage}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
