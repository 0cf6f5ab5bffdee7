"""Export a network to ONNX or torch.export: python scripts/export.py checkpoint=... output=..."""

import sys

from rednet.commands import export

if __name__ == "__main__":
    sys.exit(export())
