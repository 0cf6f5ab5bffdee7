"""Class names: the two orders of folders, and a source relabelled by another list of classes."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from rednet.data.sources import ImageSource, open_image

if TYPE_CHECKING:
    from rednet.data.lazy_reading import JpegFile

TEXT, NATURAL = "text", "natural"
CLASS_ORDERS = (TEXT, NATURAL)


def order_classes(names: Collection[str], order: str) -> list[str]:
    """Sort class names.

    Args:
        names: The names.
        order: "text": by characters, as torchvision and most others do; "natural": by the numbers
            in the names and regardless of case, as timm does.
    """
    by_text = sorted(names)
    return by_text if order == TEXT else sorted(by_text, key=_natural_key)


def _natural_key(name: str) -> list[str | int]:
    # Every second part is a number, so that only parts of the same type are compared.
    parts = re.split(r"(\d+)", name.lower())
    return [int(part) if index % 2 else part for index, part in enumerate(parts)]


def classes_with_images(source: ImageSource) -> list[str]:
    """Return the names of the classes that have images, in the order of the source."""
    return [source.class_names[index] for index in np.unique(np.asarray(source.targets)).tolist()]


class RelabelledSource:
    """A source whose class indices are the positions in another list of classes.

    Args:
        source: The images.
        class_names: The new list; it must have all classes of the source that have images.
    """

    def __init__(self, source: ImageSource, class_names: Sequence[str]):
        self.source = source
        self.class_names = list(class_names)
        self.targets = _translate(source, {name: i for i, name in enumerate(class_names)})

    @property
    def relative_names(self) -> np.ndarray:
        """Names of the images relative to the root of the source."""
        return self.source.relative_names

    def __len__(self) -> int:
        return len(self.source)

    def load(self, index: int) -> Image.Image:
        """Return a decoded image of the source."""
        return self.source.load(index)

    def open(self, index: int) -> "Image.Image | JpegFile":
        """Read an image of the source; see `open_image`."""
        return open_image(self.source, index)

    def check(self, index: int) -> None:
        """Look at what is cheap to read of an image."""
        self.source.check(index)

    def read_bytes(self, index: int) -> bytes:
        """Return what is stored of an image."""
        return self.source.read_bytes(index)

    def name_of(self, index: int) -> str:
        """Return the name that the image has in the source."""
        return self.source.name_of(index)


def _translate(source: ImageSource, positions: Mapping[str, int]) -> list[int]:
    new = np.array([positions.get(name, -1) for name in source.class_names], np.int64)
    targets: Any = new[np.asarray(source.targets, np.int64)]
    assert (targets >= 0).all(), "a class with images is missing in the new list"
    return targets.tolist()
