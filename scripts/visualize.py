"""Draw figures for a paper: python scripts/visualize.py checkpoint=... images=..."""

import sys

from rednet.commands import visualize

if __name__ == "__main__":
    sys.exit(visualize())
