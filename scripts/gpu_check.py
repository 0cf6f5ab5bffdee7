"""Check and measure RedNet on a GPU in eight minutes: python scripts/gpu_check.py."""

import sys
from pathlib import Path

# The benchmarks are not installed; they run from a checkout only.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.gpu_check.cli import main

if __name__ == "__main__":
    sys.exit(main())
