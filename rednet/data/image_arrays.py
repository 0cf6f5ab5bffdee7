"""Images in memory, of any common kind, as Pillow's images."""

from collections.abc import Iterable
from os import PathLike, fspath

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from rednet.data.image_reading import as_8_bits, read_image
from rednet.errors import InputError

ImageLike = str | PathLike[str] | Image.Image | np.ndarray | Tensor
"""An image: a path, an image of Pillow's, an array or a tensor."""

CHANNELS = (1, 3, 4)
HALF = (torch.float16, torch.bfloat16)
ROUNDING = 1e-4
LAYOUTS = "(H, W), (H, W, C) or (C, H, W) with 1, 3 or 4 channels"


def is_single(images: ImageLike | Iterable[ImageLike]) -> bool:
    """Return whether something is one image; arrays of four dimensions or of texts are several."""
    if isinstance(images, np.ndarray) and images.dtype.kind in ("U", "T", "O"):
        return images.ndim == 0
    if isinstance(images, np.ndarray | Tensor):
        return images.ndim < 4
    is_one = isinstance(images, str | bytes | PathLike | Image.Image)
    return is_one or not isinstance(images, Iterable)


def as_image(image: ImageLike) -> Image.Image:
    """Return an image in mode L or RGB, as `read_image` does for a file.

    Args:
        image: A path, an image of Pillow's, an array or a tensor. Arrays and tensors hold uint8
            (0 to 255), uint16 (0 to 65535, gray) or floats (0 to 1), in the layout (H, W),
            (H, W, C) or (C, H, W). Where both ends could be the channels, they are the last
            dimension of an array and the first one of a tensor. A fourth channel is dropped.

    Raises:
        UnreadableImage: A file cannot be decoded.
        InputError: The object is no image.
    """
    if isinstance(image, str | PathLike):
        return read_image(fspath(image))
    if isinstance(image, Image.Image):
        try:
            image.load()
            return as_8_bits(image)
        except (OSError, ValueError) as error:
            raise InputError(f"an image of mode {image.mode} cannot be used: {error}") from error
    if isinstance(image, np.ndarray | Tensor):
        return _from_array(image)
    raise InputError(
        f"an image must be a path, an image of Pillow's, an array or a tensor, not "
        f"{type(image).__name__}"
    )


def _from_array(image: np.ndarray | Tensor) -> Image.Image:
    prefers_first = isinstance(image, Tensor)
    if isinstance(image, Tensor):
        image = image.detach().cpu()
        image = (image.float() if image.dtype in HALF else image).numpy()
    pixels = _as_integers(_channels_last(np.asarray(image), prefers_first=prefers_first))
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.dtype == np.uint16 and pixels.ndim == 3:
        raise InputError("an array of 16 bits must be gray: divide colours by 257")
    return as_8_bits(Image.fromarray(np.ascontiguousarray(pixels)))


def _channels_last(pixels: np.ndarray, *, prefers_first: bool) -> np.ndarray:
    if pixels.size == 0:
        raise InputError(f"an array of shape {pixels.shape} has no pixels")
    if pixels.ndim == 2:
        return pixels
    is_first, is_last = (pixels.ndim == 3 and pixels.shape[axis] in CHANNELS for axis in (0, -1))
    if not (is_first or is_last):
        raise InputError(f"an array must have the shape {LAYOUTS}, not {pixels.shape}")
    return pixels.transpose(1, 2, 0) if is_first and (prefers_first or not is_last) else pixels


def _as_integers(pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype in (np.uint8, np.uint16):
        return pixels
    if not np.issubdtype(pixels.dtype, np.floating):
        raise InputError(
            f"an array must hold uint8 (0 to 255), uint16 or floats (0 to 1), not {pixels.dtype}"
        )
    low, high = pixels.min(), pixels.max()
    if not (low >= -ROUNDING and high <= 1 + ROUNDING):  # NaN is neither
        raise InputError(
            f"an array of floats must hold pixels from 0 to 1, not {low:g} to {high:g}; a batch "
            "that is already normalised belongs into `classifier.model`"
        )
    return np.rint(pixels.clip(0, 1) * 255).astype(np.uint8)
