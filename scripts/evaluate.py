"""Evaluate a checkpoint: python scripts/evaluate.py checkpoint=... data=..."""

import sys

from rednet.commands import evaluate

if __name__ == "__main__":
    sys.exit(evaluate())
