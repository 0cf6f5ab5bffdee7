"""Write tar shards for data=webdataset: make_shards.py FOLDER data=imagenet data.root=..."""

import sys

from rednet.commands import make_shards

if __name__ == "__main__":
    sys.exit(make_shards())
