"""Verify, index or extract ImageNet's tar files: python scripts/prepare_imagenet.py FOLDER."""

import sys

from rednet.commands import prepare_imagenet

if __name__ == "__main__":
    sys.exit(prepare_imagenet())
