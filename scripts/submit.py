"""Submit a run to Slurm: python scripts/submit.py --gpus 8 --hours 24 -- output_dir=runs/x ..."""

import sys

from rednet.commands import submit

if __name__ == "__main__":
    sys.exit(submit())
