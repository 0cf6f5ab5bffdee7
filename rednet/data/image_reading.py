"""Decode image files that may be damaged, hostile, or no files at all."""

import os
import re
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import IO, Any

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from rednet.data.sources import UnreadableImage
from rednet.wording import printable

MAX_PIXELS = 89_478_485
"""Pixels at which Pillow begins to warn of decompression bombs; as RGB they take 0.4 GB."""
MAX_BYTES_PER_PIXEL = 16
"""Bytes that a pixel takes in the largest files, by which the size of files is limited: some
formats are read into memory as a whole before their header is looked at."""
_ENDS = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82", "GIF": b";"}
"""Last bytes of a complete file, by Pillow's name of its format."""


def read_image(
    path: str | os.PathLike[str], max_pixels: int = MAX_PIXELS, content: bytes | None = None
) -> Image.Image:
    """Decode an image file into mode L or RGB.

    The EXIF orientation is ignored, as torchvision does. Transparency is dropped, and 16-bit gray
    is scaled to 8 bits. Of several images in a file the first is taken.

    Args:
        path: A regular file, or a link to one. Anything else, such as a pipe, is never opened.
        max_pixels: Largest number of pixels of an image that is decoded, by its header.
        content: Content of the file, for an image that is a part of another file; `path` is then
            only its name.

    Raises:
        UnreadableImage: The file cannot be decoded for any reason, including a missing or truncated
            file.
        MemoryError: There is no memory left.
    """
    with opened(path, max_pixels, content) as image:
        image.load()
        return as_8_bits(image)


def read_header(
    path: str | os.PathLike[str], max_pixels: int = MAX_PIXELS, content: bytes | None = None
) -> None:
    """Read what comes before the pixels of an image file, and decode it only if its end is missing.

    The arguments are those of `read_image`.

    Raises:
        UnreadableImage: It is no image, is cut, or has too many pixels.
    """
    with opened(path, max_pixels, content) as image:
        _require_fixed_range(image)
        if not _has_end(image):
            image.load()


def read_file(path: str | os.PathLike[str], max_bytes: int) -> bytes:
    """Return the content of a regular file.

    Raises:
        OSError: It cannot be read, is too large, or is no regular file.
    """
    with open_regular(path, max_bytes) as file:
        return file.read()


def open_regular(path: str | os.PathLike[str], max_bytes: int) -> IO[bytes]:
    """Open a file to read it, unless it is something that might never answer.

    Raises:
        OSError: It cannot be opened, is too large, or is a pipe, a socket, a device or a folder.
    """
    _require_regular(os.stat(path), max_bytes)  # opening a device can have an effect
    # Without O_NONBLOCK, a pipe that has taken the file's place would wait for a writer.
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
    try:
        _require_regular(os.fstat(handle), max_bytes)
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def _file(path: str | os.PathLike[str], max_bytes: int, content: bytes | None) -> IO[bytes]:
    return open_regular(path, max_bytes) if content is None else BytesIO(content)


def _require_regular(status: os.stat_result, max_bytes: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        kinds = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFDIR: "a folder"}
        raise OSError(f"it is {kinds.get(stat.S_IFMT(status.st_mode), 'a device')}, not a file")
    if status.st_size > max_bytes:
        raise OSError(
            f"the file has {status.st_size} bytes, too many for an image of data.max_pixels"
        )


@contextmanager
def opened(
    path: str | os.PathLike[str], max_pixels: int, content: bytes | None
) -> Iterator[ImageFile]:
    """Open an image and read its header; whatever goes wrong makes it unreadable."""
    try:
        # Pillow warns about large images and odd metadata; neither affects the pixels.
        with (
            warnings.catch_warnings(action="ignore"),
            _pillow_limit(max_pixels),
            _file(path, MAX_BYTES_PER_PIXEL * max_pixels, content) as file,
            Image.open(file) as image,
        ):
            yield image
    except MemoryError:
        raise  # the system's fault, not the file's
    except Image.DecompressionBombError as error:
        pixels = "".join(re.findall(r"\d+", str(error))[:1])
        reason = f"it has {pixels} pixels, more than data.max_pixels={max_pixels}"
        raise UnreadableImage(printable(path), reason) from error
    except UnidentifiedImageError as error:
        raise UnreadableImage(printable(path), "it is no image of a known format") from error
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UnreadableImage(printable(path), printable(reason)) from error


@contextmanager
def _pillow_limit(max_pixels: int) -> Iterator[None]:
    """Let Pillow refuse images with more pixels, as it knows where each format hides its size."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = max_pixels / 2  # type: ignore[assignment]  # an error from twice on
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _has_end(image: Any) -> bool:
    """Return whether a file ends as its format says; other formats are taken on trust."""
    end = _ENDS.get(image.format)
    if end is None:
        return True
    position = image.fp.tell()
    image.fp.seek(-len(end), os.SEEK_END)
    last = image.fp.read()
    image.fp.seek(position)
    return bool(last == end)


def as_8_bits(image: Image.Image) -> Image.Image:
    """Return an image of any mode in mode L or RGB.

    Transparency is dropped, and 16-bit gray is scaled to 8 bits.

    Raises:
        ValueError: The pixels have 32 bits and no fixed range.
    """
    if image.mode in ("L", "RGB"):
        return image
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    _require_fixed_range(image)
    return image.convert("RGB")


def _require_fixed_range(image: Image.Image) -> None:
    if image.mode in ("I", "F"):
        raise ValueError("32-bit pixels have no fixed range, convert the file to 8 or 16 bits")
