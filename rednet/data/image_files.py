"""Find and decode image files, and serve them as a source."""

import copy
import os
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from rednet.data.sources import UnreadableImage
from rednet.errors import InputError

IMAGE_SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)


class ImageFiles:
    """A source of image files under one root folder."""

    def __init__(self, root: Path, class_names: list[str], samples: Iterable[tuple[str, int]]):
        """Take ``samples`` as pairs of a path relative to ``root`` and a class index."""
        names, targets = zip(*samples, strict=True)
        self.root = root
        self.class_names = class_names
        self.targets: list[int] = list(targets)
        # One array of bytes: forked workers would copy the pages of a million str objects as they
        # touch the reference counts.
        self.relative_names = np.array([os.fsencode(name) for name in names])

    def select(self, indices: np.ndarray) -> "ImageFiles":
        """Return the source of the images at some indices, with all classes."""
        part = copy.copy(self)
        part.relative_names = self.relative_names[indices]
        part.targets = np.asarray(self.targets)[indices].tolist()
        return part

    def __len__(self) -> int:
        return len(self.targets)

    def load(self, index: int) -> Image.Image:
        """Decode an image; see `read_image`."""
        return read_image(self.name_of(index))

    def name_of(self, index: int) -> str:
        """Return the path of an image."""
        return str(self.root / os.fsdecode(bytes(self.relative_names[index])))


def read_image(path: str | os.PathLike[str]) -> Image.Image:
    """Decode an image file into mode L or RGB.

    The EXIF orientation is ignored, as torchvision does. Transparency is dropped, and 16-bit gray
    is scaled to 8 bits.

    Raises:
        UnreadableImage: The file cannot be decoded for any reason, including a missing or truncated
            file.
    """
    try:
        # Pillow warns about large images and odd metadata; neither affects the pixels.
        with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
            image.load()
            return _as_8_bits(image)
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UnreadableImage(os.fspath(path), reason) from error


def _as_8_bits(image: Image.Image) -> Image.Image:
    if image.mode in ("L", "RGB"):
        return image
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError("32-bit pixels have no fixed range, convert the file to 8 or 16 bits")
    return image.convert("RGB")


def subfolders(folder: Path) -> list[str]:
    """Return the sorted names of the folders in ``folder`` that are not hidden.

    Raises:
        InputError: ``folder`` is missing, not a folder or not readable.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
    except OSError as error:
        raise InputError(f"data folder {folder} cannot be read: {error.strerror}") from error


def list_images(folder: Path) -> list[str]:
    """Return the sorted paths, relative to ``folder``, of all images in it that are not hidden."""
    images: list[str] = []
    for parent, folders, files in os.walk(folder, followlinks=True):
        # In place: os.walk goes into the folders that are left.
        folders[:] = [name for name in folders if not name.startswith(".")]
        inside = os.path.relpath(parent, folder)
        images += [os.path.normpath(os.path.join(inside, f)) for f in files if is_image_name(f)]
    return sorted(images)


def is_image_name(name: str) -> bool:
    """Return whether a file name has the suffix of an image, in upper or lower case."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def images_by_class(root: Path) -> dict[str, list[str]]:
    """Map each class folder in ``root``, sorted by name, to its images, relative to ``root``.

    Raises:
        InputError: ``root`` is missing or has no class folders, or a class folder has no images.
    """
    classes = subfolders(root)
    if not classes:
        state = "has no class folders" if any(root.iterdir()) else "is empty"
        raise InputError(f"data folder {root} {state}: expected {root}/<class>/<image>")
    images = {name: [f"{name}/{file}" for file in list_images(root / name)] for name in classes}
    empty = [name for name, files in images.items() if not files]
    if empty:
        raise InputError(
            f"class folders without images in {root}: {join_names(empty)}; "
            f"add images ({', '.join(sorted(IMAGE_SUFFIXES))}) or remove the folders"
        )
    return images


def label_images(
    images: Mapping[str, list[str]], class_index: Mapping[str, int]
) -> list[tuple[str, int]]:
    """Return (image, class index) for all images, class by class."""
    return [(image, class_index[name]) for name, files in images.items() for image in files]


def join_names(names: list[str], limit: int = 5) -> str:
    """Join names for an error message; names beyond ``limit`` are only counted."""
    rest = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {rest} more" if rest > 0 else "")
