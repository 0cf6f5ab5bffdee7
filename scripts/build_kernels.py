"""Compile the CPU's kernels for other machines: python scripts/build_kernels.py output=..."""

import sys

from rednet.commands import build_kernels

if __name__ == "__main__":
    sys.exit(build_kernels())
