"""Train a network: python train.py model=rednet50 data=imagenet data.root=..."""

import sys

from rednet.commands import train

if __name__ == "__main__":
    sys.exit(train())
