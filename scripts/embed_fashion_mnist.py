"""Make the balanced subset of Fashion-MNIST that is embedded in the package."""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from rednet.data.fashion_mnist import CLASS_NAMES, EMBEDDED_FILE, read_idx_folder
from rednet.program import DONE, run_program


def main() -> int:
    """Write the first images of each class of the full data set to one file."""
    return run_program(_main)


def _main() -> int:
    args = build_parser().parse_args()
    arrays = read_idx_folder(args.folder)
    subset: dict[str, Any] = {}
    for split, count in {"train": args.train_per_class, "test": args.test_per_class}.items():
        images, labels = arrays[split]
        selected = first_of_each_class(labels, count)
        subset |= {f"{split}_images": images[selected], f"{split}_labels": labels[selected]}
        print(f"{split}: {len(selected)} of {len(labels)} images, the first {count} of each class")
    np.savez_compressed(args.output, **subset)
    print(f"wrote {args.output}: {args.output.stat().st_size:,} bytes")
    return DONE


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="The full data set comes with Debian's package dataset-fashion-mnist, in "
        "/usr/share/datasets/fashion-mnist. The same input gives the same output, byte for byte.",
    )
    parser.add_argument("folder", type=Path, help="folder with the four IDX files, gzipped or not")
    parser.add_argument(
        "--output",
        type=Path,
        default=EMBEDDED_FILE,
        help=".npz file to write (default: %(default)s)",
    )
    parser.add_argument("--train-per-class", type=int, default=1000, help="default: %(default)s")
    parser.add_argument("--test-per-class", type=int, default=200, help="default: %(default)s")
    return parser


def first_of_each_class(labels: np.ndarray, count: int) -> np.ndarray:
    """Return the indices of the first ``count`` images of each class, in the order of the file."""
    indices = [np.flatnonzero(labels == target)[:count] for target in range(len(CLASS_NAMES))]
    return np.sort(np.concatenate(indices))


if __name__ == "__main__":
    sys.exit(main())
