"""Reports what the CUDA kernels' machine code consists of: python scripts/kernel_report.py."""

import sys

from rednet.analysis.kernels.cli import main

if __name__ == "__main__":
    sys.exit(main())
