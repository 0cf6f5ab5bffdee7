"""scalars.csv: a line for each scalar of a run."""

import csv
import io
import os
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path

from PIL import Image

from rednet.files import write_atomically
from rednet.loggers.interface import MAX_PENDING, Setting

FILE_NAME = "scalars.csv"
HEADER = b"step,tag,value\n"
Row = tuple[int, str, float]


class CsvFile:
    """Appends scalars to a file, which has all up to the last flush and nothing else.

    Images and texts have no place in it.

    Args:
        folder: Folder of the file.
        first_step: Lines of this and of later steps that the file has are removed.
    """

    def __init__(self, folder: Path, first_step: int) -> None:
        self.path, self.first_step = folder / FILE_NAME, first_step
        self._pending: deque[Row] = deque(maxlen=MAX_PENDING)
        self._size: int | None = None  # of the file at the last flush; None before the first

    @property
    def place(self) -> str:
        """Path of the file."""
        return str(self.path)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Keep a line for each tag until the next flush."""
        self._pending.extend((step, tag, float(value)) for tag, value in values.items())

    def image(self, tag: str, image: Image.Image, step: int) -> None:
        """Leave the image out."""

    def text(self, tag: str, text: str, step: int) -> None:
        """Leave the text out."""

    def hparams(self, settings: Mapping[str, Setting], metric: str, step: int) -> None:
        """Leave the settings out; the run's config.yaml has them."""

    def flush(self) -> None:
        """Bring all lines to the disk.

        Raises:
            OSError: The file cannot be written; the lines are kept for the next call.
        """
        if self._size is None:
            self._size = self._remove_later_lines()
        if not self.path.exists():  # deleted with the run's folder
            write_atomically(self.path, lambda file: file.write(HEADER))
            self._size = len(HEADER)
        if not self._pending:
            return
        with self.path.open("r+b") as file:
            file.truncate(self._size)  # half a line of a flush that failed
            file.seek(self._size)
            file.write(_to_bytes(self._pending))
            file.flush()
            os.fsync(file.fileno())
            self._size = file.tell()
        self._pending.clear()

    def close(self) -> None:
        """Flush; the file is not open in between.

        Raises:
            OSError: The lines since the last flush cannot be written.
        """
        self.flush()

    def _remove_later_lines(self) -> int:
        """Put a file without later and damaged lines in the place of one that has some.

        Returns:
            Size of the file.
        """
        content = self.path.read_bytes() if self.path.is_file() else b""
        lines = content.splitlines(keepends=True)
        kept = b"".join([HEADER, *(line for line in lines if self._is_kept(line))])
        if kept != content:
            write_atomically(self.path, lambda file: file.write(kept))
        return len(kept)

    def _is_kept(self, line: bytes) -> bool:
        """Return whether a line is complete and of an earlier step."""
        step, *rest = line.split(b",", 1)
        is_complete = line.endswith(b"\n") and bool(rest) and step.isdigit() and b"\0" not in line
        return is_complete and int(step) < self.first_step


def _to_bytes(rows: Iterable[Row]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
