"""Train the paper's table: python scripts/launch_table.py --dry-run --data-root /data/imagenet."""

import sys

from rednet.commands import launch_table

if __name__ == "__main__":
    sys.exit(launch_table())
