"""Classify images: python scripts/predict.py checkpoint=... images=..."""

import sys

from rednet.commands import predict

if __name__ == "__main__":
    sys.exit(predict())
