"""Write tar shards for data=webdataset: make_shards.py FOLDER data=imagenet data.root=..."""

import argparse
import io
import json
import multiprocessing
import os
import sys
import tarfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image
from tqdm import tqdm

from rednet.build.opening import open_splits
from rednet.config import compose
from rednet.data import EncodedImages, ImageFiles, ImageSource, UnreadableImage, fingerprint
from rednet.data.folder_entries import IMAGE_SUFFIXES
from rednet.data.shards import CLASSES_FILE
from rednet.data.split_names import TITLES
from rednet.errors import InputError
from rednet.files import open_atomically, remove_partial_files, write_text_atomically
from rednet.program import DONE, run_program, say
from rednet.wording import count, printable

RECORD = "shards.json"
SHORT_SIDES = (256, 400, 512)


class Recipe(NamedTuple):
    """What becomes of an image.

    Attributes:
        short_side: Length in pixels to which a longer short side is reduced; None for no change.
        quality: JPEG quality of reduced images, 1 to 100.
    """

    short_side: int | None
    quality: int


class Shard(NamedTuple):
    """A shard to write: its file, the source, names in it, and indices of its images."""

    path: Path
    source: ImageSource
    names: Sequence[str]
    indices: range
    recipe: Recipe


def main(argv: Sequence[str] | None = None) -> int:
    """Write shards; return the exit code."""
    return run_program(lambda: _main(argv))


def _main(argv: Sequence[str] | None) -> int:
    options = build_parser().parse_args(argv)
    config = compose("evaluate", options.overrides)
    splits = open_splits(config.data, config.seed)
    sources = {split: source for split in TITLES if (source := getattr(splits, split)) is not None}
    if splits.test is splits.val:
        sources.pop("test", None)
    recipe = Recipe(options.short_side, options.quality)
    folder: Path = options.folder
    record: dict[str, Any] = {
        "format": 1,
        **recipe._asdict(),
        "images_per_shard": options.images,
        "splits": {split: fingerprint(source) for split, source in sources.items()},
    }
    _start(folder, record)
    for split, source in sources.items():
        shards = plan(folder, split, source, options.images, recipe)
        _write_all(shards, split, options.workers)
        total = sum(shard.path.stat().st_size for shard in shards)
        say(
            f"{split}: {count(len(source), 'image')} in {count(len(shards), 'shard')}, "
            f"{total / 1e6:,.1f} MB"
        )
    say(f"train with data=webdataset data.shards={printable(folder)}")
    return DONE


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="The same images give the same shards, byte for byte. Run it again after an "
        "interruption: shards that are complete are not written again.",
    )
    parser.add_argument("folder", type=Path, help="folder to write")
    parser.add_argument("overrides", nargs="+", help="the data, as for evaluate")
    parser.add_argument(
        "--short-side", type=int, choices=SHORT_SIDES, help="reduce a longer short side (pixels)"
    )
    parser.add_argument(
        "--quality", type=_quality, default=90, help="JPEG quality of those (default: %(default)s)"
    )
    parser.add_argument(
        "--images", type=_positive, default=1000, help="per shard (default: %(default)s)"
    )
    parser.add_argument("--workers", type=int, default=0, help="processes (default: only this one)")
    return parser


def _quality(text: str) -> int:
    if not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError("must be 1 to 100")
    return int(text)


def _positive(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return int(text)


def _start(folder: Path, record: dict[str, Any]) -> None:
    """Record what the shards of a folder are made of, unless it has others.

    Raises:
        InputError: It has shards of other images or settings, or cannot be written.
    """
    path = folder / RECORD
    try:
        before = json.loads(path.read_text()) if path.exists() else None
        if before is None and folder.exists() and any(folder.iterdir()):
            raise InputError(f"{folder} is not empty: choose another folder")
        if before is not None and before != record:
            raise InputError(
                f"{folder} has shards of other images or settings: choose another folder"
            )
        write_text_atomically(path, json.dumps(record, indent=1))
        remove_partial_files(folder)
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{folder} cannot be written: {error}") from error


def plan(folder: Path, split: str, source: ImageSource, images: int, recipe: Recipe) -> list[Shard]:
    """Write the names of the classes, and return the shards of a split."""
    write_text_atomically(folder / CLASSES_FILE, "".join(f"{n}\n" for n in source.class_names))
    names = member_names(source)
    starts = range(0, len(source), images)
    digits = max(5, len(str(len(starts))))
    return [
        Shard(
            folder / f"{split}-{number:0{digits}d}.tar",
            source,
            names,
            range(start, min(start + images, len(source))),
            recipe,
        )
        for number, start in enumerate(starts)
    ]


def member_names(source: ImageSource) -> list[str]:
    """Return a name for each image: its own, with a single dot, before the suffix of an image."""
    found: list[str] = []
    seen: set[str] = set()
    for index, encoded in enumerate(source.relative_names.tolist()):
        folder, slash, name = os.fsdecode(encoded).lstrip("/").rpartition("/")
        stem, suffix = os.path.splitext(name)
        if suffix.lower() not in IMAGE_SUFFIXES:
            stem, suffix = name, ".png"  # an image in memory
        key = f"{folder}{slash}{stem.replace('.', '_')}"
        if key in seen:
            key = f"{key}_{index}"
        seen.add(key)
        found.append(f"{key}{suffix}")
    return found


def _write_all(shards: Sequence[Shard], split: str, workers: int) -> None:
    missing = [shard for shard in shards if not shard.path.exists()]
    bar = tqdm(total=len(missing), desc=f"{split} shards", mininterval=1, leave=False)
    try:
        with bar:
            if workers < 2:
                for shard in missing:
                    write_shard(shard)
                    bar.update()
                return
            with multiprocessing.get_context("fork").Pool(workers) as pool:
                for _ in pool.imap_unordered(write_shard, missing):
                    bar.update()
    except OSError as error:
        raise InputError(f"shards cannot be written: {error}") from error


def write_shard(shard: Shard) -> None:
    """Write a shard: an image and its class index for each sample.

    Raises:
        OSError: It cannot be written, or an image cannot be read.
    """
    with (
        open_atomically(shard.path) as file,
        tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for index in shard.indices:
            name, content = encode(shard.source, index, shard.names[index], shard.recipe)
            _add(tar, name, content)
            label = str(int(shard.source.targets[index])).encode()
            _add(tar, f"{os.path.splitext(name)[0]}.cls", label)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)  # time, owner and group are 0
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def encode(source: ImageSource, index: int, name: str, recipe: Recipe) -> tuple[str, bytes]:
    """Return the name and the bytes of an image in a shard.

    Those of a file are copied if it is not larger than the recipe says, or cannot be decoded: it is
    then as unreadable in the shard as it was before.
    """
    base: Any = source
    while hasattr(base, "source"):
        base = base.source
    is_file = isinstance(base, ImageFiles | EncodedImages)
    try:
        image = source.load(index) if recipe.short_side is not None or not is_file else None
    except UnreadableImage:
        image = None
    if image is not None and recipe.short_side is not None:
        short = min(image.size)
        if short > recipe.short_side:
            return f"{os.path.splitext(name)[0]}.jpg", _reduced(image, short, recipe)
    if is_file:
        return name, source.read_bytes(index)
    assert image is not None, "an image in memory"
    file = io.BytesIO()
    image.save(file, "PNG")
    return name, file.getvalue()


def _reduced(image: Image.Image, short: int, recipe: Recipe) -> bytes:
    """Return the JPEG of an image whose short side is reduced by antialiased bicubic resizing."""
    assert recipe.short_side is not None
    size = [round(side * recipe.short_side / short) for side in image.size]
    file = io.BytesIO()
    # OpenCV's resizing rotates by the orientation in the metadata.
    exif = {"exif": image.info["exif"]} if "exif" in image.info else {}
    with warnings.catch_warnings(action="ignore"):
        resized = image.resize((size[0], size[1]), Image.Resampling.BICUBIC)
        resized.save(file, "JPEG", quality=recipe.quality, **exif)
    return file.getvalue()


if __name__ == "__main__":
    sys.exit(main())
