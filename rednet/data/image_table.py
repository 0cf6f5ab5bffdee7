"""Image files whose labels and splits are in a table."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rednet.data.assembling import assemble_splits
from rednet.data.image_files import ImageFiles, require_files
from rednet.data.labels import index_labels, read_class_names
from rednet.data.sources import Splits
from rednet.data.split_names import TITLES, Split, parse_split
from rednet.data.tables import Table, read_table
from rednet.errors import InputError
from rednet.wording import count, printable

IMAGE_COLUMNS = ("path", "image", "image_path", "file", "file_name", "filename", "filepath")
LABEL_COLUMNS = ("label", "class", "target", "category")
SPLIT_COLUMNS = ("split", "subset", "partition")


def open_image_table(
    path: str,
    *,
    root: str | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    classes: str | None = None,
    val_fraction: float,
    seed: int,
) -> Splits:
    """Open the images of a table with a row for each: path, label and, if there is one, split.

    The images are in the order of a folder of classes, by class and path, whatever the order of
    the rows. The table of a folder's images gives the same samples as the folder.

    Args:
        path: The table, CSV or parquet.
        root: Folder of the paths; by default that of the table.
        image_column: Name of the column of paths; by default, one of `IMAGE_COLUMNS`.
        label_column: Name of the column of labels; by default, one of `LABEL_COLUMNS`.
        split_column: Name of the column of splits; by default, one of `SPLIT_COLUMNS`, if any.
        classes: File of the names of the classes, one a line, in the order of their indices.
        val_fraction: Fraction of each class's images to validate with, if the table has no splits.
        seed: Seed of the split.

    Raises:
        InputError: The table cannot be read, a column or an image is missing, a label or a split
            is none, or an image has several labels.
    """
    table = read_table(Path(path))
    images = table.columns[table.find("data.image_column", image_column, IMAGE_COLUMNS)]
    labels = table.columns[table.find("data.label_column", label_column, LABEL_COLUMNS)]
    column = table.find_optional("data.split_column", split_column, SPLIT_COLUMNS)
    splits = None if column is None else _read_splits(table, column)
    class_names, targets = index_labels(
        labels, None if classes is None else read_class_names(classes), table.place
    )
    folder = Path(root) if root is not None else table.path.parent
    names = [_relative(image, folder, table, row) for row, image in enumerate(images)]
    kept, notes = _without_repeated(names, targets, splits, labels, table)
    require_files(folder, [names[row] for row in kept], printable(table.path))
    order = sorted(kept, key=lambda row: (targets[row], names[row]))
    sources: dict[Split, ImageFiles] = {}
    for split in TITLES:
        rows = [row for row in order if (splits[row] if splits else "train") == split]
        if rows:
            samples = [(names[row], int(targets[row])) for row in rows]
            sources[split] = ImageFiles(folder, class_names, samples)
    return assemble_splits(
        sources,
        dict.fromkeys(sources, printable(path)),
        val_fraction=val_fraction,
        seed=seed,
        classes_are_given=classes is not None,
        notes=notes,
    )


def _read_splits(table: Table, column: str) -> list[Split]:
    values = table.columns[column]
    parsed = {value: parse_split(value) for value in set(values)}
    splits = []
    for row, value in enumerate(values):
        found = parsed[value]
        if found is None:
            raise InputError(
                f"{table.place(row)}: {printable(value) or 'nothing'} is no split, in column "
                f"{printable(column)}: expected train, val or test"
            )
        splits.append(found[0])
    return splits


def _relative(image: str, folder: Path, table: Table, row: int) -> str:
    """Return an image's path relative to the folder, or an absolute one outside of it."""
    if not image or "\0" in image:
        raise InputError(f"{table.place(row)} has no path of an image")
    path = os.path.normpath(image)
    if not os.path.isabs(path):
        return path
    absolute = f"{os.path.abspath(folder)}{os.sep}"
    return path.removeprefix(absolute)


def _without_repeated(
    names: Sequence[str],
    targets: np.ndarray,
    splits: Sequence[Split] | None,
    labels: Sequence[str],
    table: Table,
) -> tuple[list[int], tuple[str, ...]]:
    """Return the rows without those that repeat another one, and lines about what was found."""
    first: dict[tuple[str, str], int] = {}
    rows: dict[str, int] = {}
    shared = []
    for row, name in enumerate(names):
        other = rows.setdefault(name, row)
        if targets[other] != targets[row]:
            raise InputError(
                f"{table.place(row)}: {printable(name)} has label {printable(labels[row])}, and "
                f"{printable(labels[other])} in row {table.rows[other]}"
            )
        split = splits[row] if splits else ""
        if splits and splits[other] != split and (name, split) not in first:
            shared.append(name)
        first.setdefault((name, split), row)
    notes = []
    if repeated := len(names) - len(first):
        notes.append(f"{count(repeated, 'row')} of {printable(table.path)} repeat others: not read")
    if shared:
        notes.append(
            f"warning: {count(len(shared), 'image')} can be found in several splits, such as "
            f"{printable(shared[0])}"
        )
    return list(first.values()), tuple(notes)
