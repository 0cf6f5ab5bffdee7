"""Convert weights: python scripts/convert_weights.py checkpoint=... output=..."""

import sys

from rednet.commands import convert_weights

if __name__ == "__main__":
    sys.exit(convert_weights())
