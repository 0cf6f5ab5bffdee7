"""What a prediction found, as far as the user is told: numbers, a table, and a sheet of images."""

from collections.abc import Sequence
from pathlib import Path

from rednet.data.not_read import UNREADABLE, NotRead
from rednet.errors import InputError
from rednet.predictions.rows import NOT_FINITE, ClassLabels, Row
from rednet.predictions.screen import ScreenTable
from rednet.predictions.sheet import ContactSheet
from rednet.wording import count, printable


class Results:
    """Collects what can be told about any number of images in bounded memory.

    Attributes:
        not_read: What was passed over, with the images that cannot be decoded.
        predicted: Number of images with predictions.
        unreadable: Number of images that cannot be decoded.
        nonfinite: Number of images whose logits are not finite.
        first_unreadable: Path of the first image that cannot be decoded, and why.
        failure: Why not all images could be loaded; empty if they could.
    """

    def __init__(
        self, labels: ClassLabels, sheet_images: int, total: int | None, not_read: NotRead
    ) -> None:
        self.table = ScreenTable(labels)
        self.sheet = ContactSheet(labels, sheet_images, total)
        self.not_read = not_read
        self.predicted = self.unreadable = self.nonfinite = 0
        self.first_unreadable = self.failure = ""

    @property
    def total(self) -> int:
        """Number of all images."""
        return self.predicted + self.unreadable + self.nonfinite

    def add(self, rows: Sequence[Row]) -> None:
        """Take the rows of further images."""
        self.table.add(rows)
        self.sheet.add(rows)
        for row in rows:
            if not row.reason:
                self.predicted += 1
            elif row.reason == NOT_FINITE:
                self.nonfinite += 1
            else:
                self.unreadable += 1
                self.first_unreadable = self.first_unreadable or f"{row.path} ({row.reason})"
                self.not_read.add(UNREADABLE, row.path, row.reason)

    def describe(self, folder: Path, files: Sequence[str]) -> str:
        """Return a line about the number of images and the names of the files in a folder."""
        images = count(self.total, "image")
        if self.predicted < self.total:
            images = f"{self.predicted} of {images}"
        if not files:
            return images
        *first, last = files
        listed = f"{', '.join(first)} and {last} are" if first else f"{last} is"
        return f"{images}; {listed} in {printable(folder)}"

    def require_some(self) -> None:
        """Raise an error if there are no predictions, or not those that there should be.

        Raises:
            InputError: There are none, not all images could be loaded, or logits are not finite.
        """
        if self.failure:
            raise InputError(self.failure)
        if not self.total:
            raise InputError("images: there are none")
        if self.nonfinite:
            raise InputError(
                f"the logits of {self.nonfinite} of {count(self.total, 'image')} are not finite: "
                "the network has diverged, its weights are damaged, or trainer.precision is too low"
            )
        if not self.predicted:
            raise InputError(
                f"images: none of {self.total} can be decoded: {self.first_unreadable}"
            )
