"""Class indices from the label column of a data set of the `datasets` package."""

from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from rednet.data.labels import index_labels, read_class_names
from rednet.data.split_names import Split
from rednet.errors import InputError
from rednet.wording import class_name, count, join_names, printable

Place = Callable[[Split, int], str]
"""Returns where a row stands, such as ``pets/train[17]``."""


class Labels(NamedTuple):
    """Class indices of all images.

    Attributes:
        class_names: Names of the classes, by class index.
        targets: Class index of every row (N,) int64, by split.
        are_given: Whether there may be classes without images.
        unused: Why the test images are not used, if they have no labels.
    """

    class_names: list[str]
    targets: dict[Split, np.ndarray]
    are_given: bool
    unused: dict[Split, str]


def read_labels(
    tables: Mapping[Split, Any], column: str, place: Place, classes: str | None
) -> Labels:
    """Return the class indices in a column of class indices, numbers or names.

    A column of the type ClassLabel has the names of the classes, in their order. Numbers and names
    are understood as in a CSV table; see `index_labels`. A label that is null or negative is none.

    Args:
        tables: Data sets of the `datasets` package.
        column: Name of the column, which all of them have.
        place: Returns where a row stands.
        classes: File of the names of the classes, if the user gives one.

    Raises:
        InputError: An image has no label or one that is out of range, the splits have different
            classes, or the column holds no labels.
    """
    values = {split: _read(table, column) for split, table in tables.items()}
    unused: dict[Split, str] = {}
    for split, labels in list(values.items()):
        missing = np.flatnonzero(labels == ("" if labels.dtype == object else -1))
        if not len(missing):
            continue
        rows = f"{count(len(missing), 'row')} of {len(labels)}"
        line = f"no label (null or negative) in {rows}, such as {place(split, int(missing[0]))}"
        if split != "test" or len(values) == 1:
            raise InputError(line)
        unused[split] = line
        del values[split]
    features = [tables[split].features[column] for split in values]
    given = None if classes is None else read_class_names(classes)
    if not all(hasattr(feature, "names") for feature in features):
        class_names, targets = _index(values, given, place)
        return Labels(class_names, targets, given is not None, unused)
    titles = [[class_name(name.strip()) for name in feature.names] for feature in features]
    if any(names != titles[0] for names in titles):
        raise InputError(f"the splits have different classes in the column {printable(column)}")
    class_names, targets = _translate(values, titles[0], given, place)
    return Labels(class_names, targets, True, unused)


def _read(table: Any, column: str) -> np.ndarray:
    """Return the labels of a column: int64 with -1 for none, or texts with "" for none."""
    import pyarrow
    import pyarrow.compute

    labels = table.select_columns([column]).with_format("arrow")[:].column(0)
    if pyarrow.types.is_integer(labels.type):
        filled = pyarrow.compute.fill_null(labels, -1).cast(pyarrow.int64())
        return np.maximum(filled.to_numpy(), -1)
    if pyarrow.types.is_nested(labels.type) or pyarrow.types.is_binary(labels.type):
        raise InputError(f"data.label_column={column}: it holds {labels.type}, no labels")
    return np.array([text.strip() for text in read_texts(labels, column)], object)


def read_texts(column: Any, name: str) -> list[str]:
    """Return the values of a column as texts; null gives an empty one.

    Raises:
        InputError: They are not UTF-8.
    """
    try:
        return ["" if value is None else str(value) for value in column.to_pylist()]
    except UnicodeDecodeError as error:
        raise InputError(f"the column {printable(name)} has texts that are not UTF-8") from error


def _translate(
    values: Mapping[Split, np.ndarray], titles: list[str], given: list[str] | None, place: Place
) -> tuple[list[str], dict[Split, np.ndarray]]:
    """Return class indices as they are, or as positions among the names that the user gives."""
    for split, labels in values.items():
        if len(outside := np.flatnonzero(labels >= len(titles))):
            row = int(outside[0])
            raise InputError(
                f"{place(split, row)}: label {labels[row]} is out of range: the data set has "
                f"{count(len(titles), 'class')}, 0 to {len(titles) - 1}"
            )
    if len(titles) < 2:
        raise InputError(
            f"{place(next(iter(values)), 0)} and all others are of the class {join_names(titles)}: "
            "expected two or more classes"
        )
    if given is None:
        return titles, dict(values)
    if set(titles) <= set(given):
        positions = np.array([given.index(name) for name in titles], np.int64)
        return given, {split: positions[labels] for split, labels in values.items()}
    if len(given) != len(titles):
        raise InputError(
            f"data.classes names {count(len(given), 'class')}, but the data set has "
            f"{count(len(titles), 'class')}: {join_names(titles)}"
        )
    return given, dict(values)


def _index(
    values: Mapping[Split, np.ndarray], given: list[str] | None, place: Place
) -> tuple[list[str], dict[Split, np.ndarray]]:
    """Return class indices from numbers or names, the same ones in all splits."""
    sizes = [len(labels) for labels in values.values()]
    ends = np.cumsum(sizes)

    def place_of(position: int) -> str:
        number = int(np.searchsorted(ends, position, side="right"))
        return place(list(values)[number], position - int(ends[number]) + sizes[number])

    texts = [str(label) for label in chain.from_iterable(values.values())]
    class_names, targets = index_labels(texts, given, place_of)
    return class_names, dict(zip(values, np.split(targets, ends[:-1]), strict=True))
