"""Write a page that compares runs: python scripts/report.py runs=..."""

import sys

from rednet.commands import report

if __name__ == "__main__":
    sys.exit(report())
