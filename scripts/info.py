"""Describe a file of weights: python scripts/info.py checkpoint=..."""

import sys

from rednet.commands import info

if __name__ == "__main__":
    sys.exit(info())
