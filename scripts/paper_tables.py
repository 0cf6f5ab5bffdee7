"""Print the paper's tables next to ours: python scripts/paper_tables.py checkpoints=..."""

import sys

from rednet.commands import paper_tables

if __name__ == "__main__":
    sys.exit(paper_tables())
