"""The same photographs as files, and in shards as they are or reduced."""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from rednet.data import ImageFiles
from rednet.data.image_paths import find_images
from rednet.data.not_read import NotRead
from rednet.data.tar_images import TarImages
from rednet.errors import InputError

QUALITY = 90
MADE_SIZE = (500, 375)
Source = ImageFiles | TarImages


def open_files(images: str | None, number: int, folder: Path) -> ImageFiles:
    """Return JPEG files as a source.

    Args:
        images: Folder of photographs; None to make images of noise, of ImageNet's usual size.
        number: How many are used, evenly spread over the folder.
        folder: Where made images go.

    Raises:
        InputError: The folder has no JPEG files.
    """
    if images is None:
        root, names = folder, list(_make(number, folder))
    else:
        root = Path(images)
        found = [
            path
            for path in find_images([images], NotRead())
            if path.lower().endswith((".jpg", ".jpeg"))
        ]
        if not found:
            raise InputError(f"--images {images}: there are no JPEG files")
        step = max(1, len(found) // number)
        names = [str(Path(path).relative_to(root)) for path in sorted(found)[::step][:number]]
    return ImageFiles(root, ["all"], [(name, 0) for name in names])


def _make(number: int, folder: Path) -> Iterator[str]:
    """Write smooth noise, whose files have about the size of photographs."""
    for index in range(number):
        rng = np.random.default_rng(index)
        coarse = Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8))
        pixels = np.asarray(coarse.resize(MADE_SIZE, Image.Resampling.BICUBIC), np.int16)
        noisy = pixels + rng.integers(-12, 13, pixels.shape)
        name = f"{index:04d}.jpg"
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / name, quality=QUALITY)
        yield name


def write_shard(source: ImageFiles, short_side: int | None, path: Path) -> TarImages:
    """Write a shard as `rednet.data.shard_writing` does, and open it.

    Args:
        source: The images.
        short_side: Pixels to which longer short sides are reduced; None to copy all files.
        path: The file.
    """
    offsets, sizes = [], []
    with tarfile.open(path, "w") as tar:
        for index in range(len(source)):
            content = source.read_bytes(index)
            if short_side is not None:
                content = _reduce(content, short_side)
            member = tarfile.TarInfo(f"{index:04d}.jpg")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
            sizes.append(len(content))
            offsets.append(tar.offset - -(-len(content) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE)
    number = len(source)
    return TarImages(
        [path],
        ["all"],
        np.zeros(number, np.int64),
        np.array([f"{index:04d}.jpg".encode() for index in range(number)]),
        np.zeros(number, np.int32),
        np.array(offsets, np.int64),
        np.array(sizes, np.int64),
    )


def _reduce(content: bytes, short_side: int) -> bytes:
    image = Image.open(io.BytesIO(content))
    if min(image.size) <= short_side:
        return content
    factor = short_side / min(image.size)
    size = (round(image.width * factor), round(image.height * factor))
    reduced = image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
    file = io.BytesIO()
    reduced.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()
