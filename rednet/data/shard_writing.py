"""Write the images of a data set as tar shards, in the layout of webdataset."""

import io
import json
import multiprocessing
import os
import tarfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image
from tqdm import tqdm

from rednet.data.encoded_images import EncodedImages
from rednet.data.fingerprint import fingerprint
from rednet.data.folder_entries import IMAGE_SUFFIXES
from rednet.data.image_files import ImageFiles
from rednet.data.shards import CLASSES_FILE
from rednet.data.sources import ImageSource, UnreadableImage
from rednet.data.split_names import Split
from rednet.errors import InputError
from rednet.files import open_atomically, remove_partial_files, write_text_atomically

RECORD = "shards.json"


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


def start_folder(
    folder: Path, sources: Mapping[Split, ImageSource], recipe: Recipe, images: int
) -> None:
    """Record what the shards of a folder are made of, unless it has others.

    Args:
        folder: Folder of the shards.
        sources: Images by split.
        recipe: What becomes of them.
        images: Images per shard.

    Raises:
        InputError: It has shards of other images or settings, or cannot be written.
    """
    record: dict[str, Any] = {
        "format": 1,
        **recipe._asdict(),
        "images_per_shard": images,
        "splits": {split: fingerprint(source) for split, source in sources.items()},
    }
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


def plan_shards(
    folder: Path, split: str, source: ImageSource, images: int, recipe: Recipe
) -> list[Shard]:
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


def write_shards(shards: Sequence[Shard], split: str, workers: int) -> None:
    """Write the shards that are missing, with a progress bar.

    Args:
        shards: Shards of a split.
        split: Its name, for the progress bar.
        workers: Processes that write; below 2, this one does.

    Raises:
        InputError: They cannot be written.
    """
    missing = [shard for shard in shards if not shard.path.exists()]
    bar = tqdm(total=len(missing), desc=f"{split} shards", mininterval=1, leave=False)
    try:
        with bar:
            if workers < 2:
                for shard in missing:
                    write_shard(shard)
                    bar.update()
                return
            for _ in _write_in_processes(missing, workers):
                bar.update()
    except OSError as error:
        raise InputError(f"shards cannot be written: {error}") from error
    except BrokenProcessPool as error:
        what = "a process that wrote one has died, perhaps for want of memory"
        raise InputError(f"shards cannot be written: {what}") from error


def _write_in_processes(shards: Sequence[Shard], workers: int) -> Iterator[None]:
    """Write shards in processes, and yield for each one that is complete.

    The processes end by themselves. One that has just started may lose a signal: Python ignores
    what a handler, inherited from its parent, raises in the middle of its start.
    """
    with ProcessPoolExecutor(workers, multiprocessing.get_context("fork")) as pool:
        try:
            for future in as_completed([pool.submit(write_shard, shard) for shard in shards]):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


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
