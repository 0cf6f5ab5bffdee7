"""The interface of image sources, and class-balanced subsets of a source."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
from PIL import Image

from rednet.data.not_read import NotRead
from rednet.data.split_names import Split
from rednet.errors import InputError
from rednet.wording import count

if TYPE_CHECKING:
    from rednet.data.lazy_reading import JpegFile


class UnreadableImage(Exception):
    """An image cannot be decoded.

    Attributes:
        name: Name of the image, as `ImageSource.name_of` gives it.
        reason: Reason in one line.
    """

    def __init__(self, name: str, reason: str):
        super().__init__(name, reason)
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


class ImageSource(Protocol):
    """A sequence of labelled images."""

    @property
    def class_names(self) -> list[str]:
        """Names of the classes, by class index."""

    @property
    def targets(self) -> Sequence[int]:
        """Class index of every image."""

    @property
    def relative_names(self) -> np.ndarray:
        """Names of the images relative to the root of the source, as an array of bytes."""

    def __len__(self) -> int: ...

    def load(self, index: int) -> Image.Image:
        """Return a decoded image in mode L or RGB.

        Raises:
            UnreadableImage: The image cannot be decoded.
        """

    def check(self, index: int) -> None:
        """Look at what is cheap to read of an image.

        Raises:
            UnreadableImage: The image cannot be decoded.
        """

    def read_bytes(self, index: int) -> bytes:
        """Return what is stored of an image: the content of its file, or its pixels.

        Raises:
            OSError: The file cannot be read.
        """

    def name_of(self, index: int) -> str:
        """Return the name a user knows the image by: its path, or its split and index."""


@dataclass(frozen=True)
class Splits:
    """The splits of a data set; None stands for a split that is missing or was not requested.

    Attributes:
        train: Training images.
        val: Validation images; those of `test` where a data set has no others.
        test: Images of a folder or file of test images.
        whole: All images of a folder without such folders, where `train` and `val` are parts of it.
        origins: Where each split comes from, such as its folder, by the name of the attribute.
        notes: Lines that the user should read: folders that were stepped into, likely mistakes.
        unused: Why the images of a split are not used, by the name of the attribute.
        not_read: Files and folders that were passed over.
    """

    train: ImageSource | None
    val: ImageSource | None
    test: ImageSource | None = None
    whole: ImageSource | None = None
    origins: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    unused: Mapping[Split, str] = field(default_factory=dict)
    not_read: NotRead = field(default_factory=NotRead)


class SourceSubset:
    """A subset of a source's images, with all of its classes."""

    def __init__(self, source: ImageSource, indices: Sequence[int]):
        self.source = source
        self.indices = list(indices)
        self.class_names = source.class_names
        self.targets = [source.targets[index] for index in self.indices]

    @property
    def relative_names(self) -> np.ndarray:
        """Names of the images relative to the root of the source."""
        return self.source.relative_names[self.indices]

    def __len__(self) -> int:
        return len(self.indices)

    def load(self, index: int) -> Image.Image:
        """Return a decoded image of the subset."""
        return self.source.load(self.indices[index])

    def open(self, index: int) -> "Image.Image | JpegFile":
        """Read an image of the subset; see `open_image`."""
        return open_image(self.source, self.indices[index])

    def check(self, index: int) -> None:
        """Look at what is cheap to read of an image of the subset."""
        self.source.check(self.indices[index])

    def read_bytes(self, index: int) -> bytes:
        """Return what is stored of an image of the subset."""
        return self.source.read_bytes(self.indices[index])

    def name_of(self, index: int) -> str:
        """Return the name that the image has in the source."""
        return self.source.name_of(self.indices[index])


def open_image(source: ImageSource, index: int) -> "Image.Image | JpegFile":
    """Return an image of a source, or its JPEG file where the source can leave it undecoded.

    Raises:
        UnreadableImage: The image cannot be decoded.
    """
    image: Image.Image | JpegFile = getattr(source, "open", source.load)(index)
    return image


def balanced_subset(source: ImageSource, n: int) -> ImageSource:
    """Select the first ``n`` images, balanced over the classes.

    The classes take turns, each with its next image, until ``n`` images are selected. A class
    without images left is skipped. The selected images keep the order of the source.

    Raises:
        InputError: ``n`` is less than 1 or more than the size of the source.
    """
    if not 1 <= n <= len(source):
        raise InputError(
            f"{count(n, 'sample')} requested: choose 1 to {len(source)}, the size of the data set"
        )
    targets = np.asarray(source.targets)
    # Round r of the turns takes the r-th image of every class.
    rounds = _count_earlier(targets)
    selected = np.lexsort((targets, rounds))[:n]
    return SourceSubset(source, np.sort(selected).tolist())


def _count_earlier(targets: np.ndarray) -> np.ndarray:
    """Return, for each position, how many earlier positions have the same target."""
    by_class = np.argsort(targets, kind="stable")
    _, starts, counts = np.unique(targets[by_class], return_index=True, return_counts=True)
    earlier = np.empty_like(by_class)
    earlier[by_class] = np.arange(len(targets)) - np.repeat(starts, counts)
    return earlier
