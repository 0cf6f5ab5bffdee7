"""Decode a part of a JPEG file, with Pillow's own libjpeg-turbo, and resample it.

`kernels/cpu/jpeg.cpp` does the work and says which files it refuses. It is used only where it gives
the pixels of Pillow for an image that is made at the first call: versions of Pillow differ.
"""

import ctypes
from collections.abc import Iterator
from functools import cache
from io import BytesIO
from pathlib import Path
from struct import Struct
from typing import Any

import numpy as np
from PIL import Image, _imaging

from rednet.ops import carried, compiler

SOURCE = Path(__file__).parents[1] / "kernels" / "cpu" / "jpeg.cpp"
FLAGS = ("-ffp-contract=off",)
LIBJPEG_FUNCTIONS = (
    *("std_error", "CreateDecompress", "mem_src", "read_header", "start_decompress"),
    *("crop_scanline", "skip_scanlines", "read_scanlines", "destroy_decompress"),
)
"""Functions of libjpeg, in the order of the C++ struct Library."""
FILTERS = {None: 0, "bilinear": 1, "bicubic": 2}
"""Interpolations, by the codes of the C++ enum Filter."""

DONE, OUT_OF_MEMORY, REFUSED = range(3)

_pack_request = Struct("Pq2q4q3q4q2qP").pack

Size = tuple[int, int]
"""Width and height in pixels."""
Box = tuple[int, int, int, int]
"""Left, top, width and height in pixels."""


def decode_jpeg(
    content: bytes,
    size: Size,
    box: Box,
    *,
    interpolation: str | None = None,
    new_size: Size | None = None,
    part: Box | None = None,
    mirror: bool = False,
) -> np.ndarray | None:
    """Return a part of an image, resized, as Pillow would decode, crop and resize it.

    Args:
        content: Content of a JPEG file in RGB or gray.
        size: Width and height of the image, by its header.
        box: The part of the image, as left, top, width and height.
        interpolation: A filter of Pillow's; None to leave the part as it is.
        new_size: Width and height that the part is resized to.
        part: What is wanted of the resized part; None for all.
        mirror: Whether to exchange left and right at the end; only of a resized part.

    Returns:
        The pixels (H, W, 3) uint8; None if Pillow must decode the file, because of its kind, or
        because it may be damaged, or because this module cannot run.

    Raises:
        MemoryError: There is no memory left.
    """
    decoder = _decoder()
    if isinstance(decoder, str) or interpolation not in FILTERS:
        return None
    return decoder.decode(content, size, box, interpolation, new_size, part, mirror)


def unavailable_reason() -> str | None:
    """Return why Pillow must decode all files, or None; the first call compiles the decoder."""
    decoder = _decoder()
    return decoder if isinstance(decoder, str) else None


class _Decoder:
    """The compiled decoder.

    Args:
        may_begin_with_columns: Whether Pillow resamples columns first where that is faster, as it
            does from version 13 on.
    """

    def __init__(self, decode: Any, library: bytes, may_begin_with_columns: bool) -> None:
        self._decode, self._library = decode, library
        self.may_begin_with_columns = may_begin_with_columns

    def decode(
        self,
        content: bytes,
        size: Size,
        box: Box,
        interpolation: str | None = None,
        new_size: Size | None = None,
        part: Box | None = None,
        mirror: bool = False,
    ) -> np.ndarray | None:
        """Decode, as `decode_jpeg` does."""
        new_size = box[2:] if new_size is None else new_size
        part = (0, 0, *new_size) if part is None else part
        pixels = np.empty((part[3], part[2], 3), np.uint8)
        request = _pack_request(
            *(ctypes.cast(ctypes.c_char_p(content), ctypes.c_void_p).value, len(content)),
            *(*size, *box),
            *(FILTERS[interpolation], *new_size, *part),
            *(mirror, self.may_begin_with_columns, pixels.ctypes.data),
        )
        status = self._decode(self._library, request)
        if status == OUT_OF_MEMORY:
            raise MemoryError("not enough memory to decode an image")
        return pixels if status == DONE else None


@cache
def _decoder() -> _Decoder | str:
    """Return the decoder, or why there is none."""
    try:
        pillow = ctypes.CDLL(_imaging.__file__)  # loaded already; its symbols include libjpeg's
        functions = [getattr(pillow, f"jpeg_{name}") for name in LIBJPEG_FUNCTIONS]
    except (OSError, AttributeError) as error:
        return f"Pillow has no libjpeg-turbo that others can use: {error}"
    addresses = (ctypes.cast(function, ctypes.c_void_p).value for function in functions)
    library = Struct(f"{len(functions)}P").pack(*addresses)
    try:
        decode = carried.load(SOURCE, FLAGS).rednet_decode_jpeg
    except compiler.BuildError as error:
        return str(error)
    decode.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    for may_begin_with_columns in (True, False):
        decoder = _Decoder(decode, library, may_begin_with_columns)
        if all(ours is not None and np.array_equal(ours, pil) for ours, pil in _probes(decoder)):
            return decoder
    return "it does not give the pixels of this version of Pillow"


def _probes(decoder: _Decoder) -> Iterator[tuple[np.ndarray | None, np.ndarray]]:
    """Yield parts of an image as the decoder and as Pillow give them."""
    pixels = np.random.default_rng(0).integers(0, 256, (150, 118, 3), np.uint8)
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    content = file.getvalue()
    image = Image.open(BytesIO(content))
    for box in ((0, 0, 118, 150), (35, 51, 40, 90), (17, 33, 93, 61)):
        left, top, width, height = box
        part = image.crop((left, top, left + width, top + height))
        yield decoder.decode(content, image.size, box), np.asarray(part)
        for name in ("bilinear", "bicubic"):
            resized = part.resize((32, 32), Image.Resampling[name.upper()])
            yield decoder.decode(content, image.size, box, name, (32, 32)), np.asarray(resized)
