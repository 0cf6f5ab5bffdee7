"""Images in the rows of an Arrow table as a source."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from rednet.data.arrow_labels import read_texts
from rednet.data.encoded_images import EncodedImages
from rednet.data.image_reading import MAX_BYTES_PER_PIXEL, read_file
from rednet.errors import InputError
from rednet.wording import printable


class ImageColumn:
    """A column of images in a memory-mapped table of the `datasets` package.

    An image is a struct of its encoded `bytes` and its `path`, of which one may be null, or just
    one of the two.

    Args:
        table: Data set of the `datasets` package.
        name: Name of the column.
        place: Name of the table, made printable.
        folder: Folder of relative paths.

    Attributes:
        table: The column alone, in the format "arrow".
        paths: Path or name of each row's image, empty if it has none.
        is_stored: Whether the table has the bytes of each row's image (N,) bool.

    Raises:
        InputError: The column has another type, or its images are on a server or in an archive.
    """

    def __init__(self, table: Any, name: str, place: str, folder: Path):
        self.table = table.select_columns([name]).with_format("arrow")
        self.place, self.folder = place, folder
        self.paths, self.is_stored = _read(self.table[:].column(0), name)
        elsewhere = (path for path in self.files if "://" in path)
        if (path := next(elsewhere, None)) is not None:
            raise InputError(
                f"{place} has images on a server or in an archive ({printable(path)}): store them "
                "in the data set by its save_to_disk(FOLDER), and give data.dataset=FOLDER"
            )

    @property
    def files(self) -> list[str]:
        """Paths of the images whose bytes the table does not have."""
        rows = np.flatnonzero(~self.is_stored).tolist()
        return [self.paths[row] for row in rows if self.paths[row]]

    def names(self, class_names: list[str], targets: np.ndarray) -> np.ndarray:
        """Return names of the images such as ``cat/17.jpg``, or their rows if they have none."""
        bases = [path.rpartition("/")[2] for path in self.paths]
        if all(bases):
            pairs = zip(targets.tolist(), bases, strict=True)
            names = [os.fsencode(f"{class_names[target]}/{base}") for target, base in pairs]
            if len(set(names)) == len(names):
                return np.array(names)
        return np.char.zfill(np.arange(len(bases)).astype("S"), len(str(len(bases))))

    def open(self, class_names: list[str], targets: np.ndarray) -> "ArrowImages":
        """Return the images of all rows, by class and name."""
        names = self.names(class_names, targets)
        rows = np.lexsort((names, targets))
        return ArrowImages(self, class_names, targets[rows], names[rows], rows)


def _read(column: Any, name: str) -> tuple[list[str], np.ndarray]:
    """Return the paths in a column, and which rows have the bytes of an image."""
    import pyarrow
    import pyarrow.compute

    types, kind, none = pyarrow.types, column.type, np.zeros(len(column), bool)
    if types.is_string(kind) or types.is_large_string(kind):
        return read_texts(column, name), none
    if types.is_binary(kind) or types.is_large_binary(kind):
        return [""] * len(column), column.is_valid().to_numpy()
    fields = {field.name for field in kind} if types.is_struct(kind) else set()
    if not fields & {"bytes", "path"}:
        raise InputError(
            f"data.image_column={name}: it holds {kind}, neither encoded images nor paths"
        )
    paths, stored = [""] * len(column), none
    if "path" in fields:
        paths = read_texts(pyarrow.compute.struct_field(column, "path"), name)
    if "bytes" in fields:
        stored = pyarrow.compute.struct_field(column, "bytes").is_valid().to_numpy()
    return paths, stored


class ArrowImages(EncodedImages):
    """Images in one column of a memory-mapped table, read by row.

    Workers share the pages of the table's file; pickled, it is the path of the file.

    Args:
        column: The column.
        class_names: Names of the classes, by class index.
        targets: Class index of every image (N,) int64.
        names: Names of the images, an array of bytes (N,).
        rows: Row of each image (N,) int64.
    """

    per_image = ("relative_names", "rows")

    def __init__(
        self,
        column: ImageColumn,
        class_names: list[str],
        targets: np.ndarray,
        names: np.ndarray,
        rows: np.ndarray,
    ):
        super().__init__(class_names, targets, names)
        self.table, self.place, self.folder = column.table, column.place, column.folder
        self.rows = rows

    def read_bytes(self, index: int) -> bytes:
        """Return the encoded bytes of an image.

        Raises:
            OSError: The row has none or too many, or its file cannot be read.
        """
        limit = MAX_BYTES_PER_PIXEL * self.max_pixels
        value = self.table[int(self.rows[index])].column(0)[0].as_py()
        image = value if isinstance(value, dict) else {"bytes": value}
        if (content := image.get("bytes")) is not None:
            if len(content) > limit:
                raise OSError(
                    f"it has {len(content)} bytes, too many for an image of data.max_pixels"
                )
            return bytes(content)
        if not image.get("path"):
            raise OSError("the row has no image")
        return read_file(os.path.join(self.folder, image["path"]), limit)

    def name_of(self, index: int) -> str:
        """Return the table and the row, such as ``pets/train[17]``."""
        return f"{self.place}[{self.rows[index]}]"
