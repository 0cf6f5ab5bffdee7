"""Benchmark ceilings, operator and networks: python scripts/benchmark.py [operator|network|...]."""

import sys
from pathlib import Path

# The benchmarks are not installed; they run from a checkout only.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.cli import main

if __name__ == "__main__":
    sys.exit(main())
