"""Measures ceilings, operator and networks: python scripts/benchmark.py [operator|network|...]."""

import sys

from rednet.analysis.benchmark.cli import main

if __name__ == "__main__":
    sys.exit(main())
