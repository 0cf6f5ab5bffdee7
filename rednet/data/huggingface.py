"""Data sets of the `datasets` package: local folders, parquet files and the Hub."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rednet.data.arrow_images import ArrowImages, ImageColumn
from rednet.data.arrow_labels import Labels, read_labels
from rednet.data.assembling import assemble_splits
from rednet.data.huggingface_loading import choose_splits, load_tables
from rednet.data.image_files import ImageFiles, require_files
from rednet.data.image_table import IMAGE_COLUMNS, LABEL_COLUMNS
from rednet.data.sources import Splits
from rednet.data.split_names import Split
from rednet.data.tables import Table
from rednet.errors import InputError
from rednet.wording import join_names, printable


def open_huggingface(
    dataset: str,
    *,
    config: str | None = None,
    train_split: str | None = None,
    val_split: str | None = None,
    root: str | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    classes: str | None = None,
    val_fraction: float,
    seed: int,
) -> Splits:
    """Open a data set with a column of images and one of labels.

    The images are in the order of a folder of classes, by class and file name, whatever the order
    of the rows; without a different file name in each row of a class, by class and row.

    Args:
        dataset: A folder or parquet file, or a name on the Hub; see `load_tables`.
        config: Name of its configuration, if it has several.
        train_split: Name of the training images' split; by default, the one called so.
        val_split: Name of the validation images' split; by default, the one called so.
        root: Folder of relative paths, for images that are stored as paths; by default, that of the
            data set.
        image_column: Name of the column of images; by default, the only one of the type Image, or
            one of `IMAGE_COLUMNS`.
        label_column: Name of the column of labels; by default, the only one of the type ClassLabel,
            or one of `LABEL_COLUMNS`.
        classes: File of the names of the classes; by default, the data set or the labels say.
        val_fraction: Fraction of each class's images to validate with, if there are no others.
        seed: Seed of the split.

    Raises:
        InputError: The data set, a split, a column or a file of an image is missing, or a label is
            none.
    """
    place = printable(dataset)
    tables = load_tables(dataset, config)
    chosen, unused, notes = choose_splits(place, list(tables), train_split, val_split)
    parts = {split: tables[name] for split, name in chosen.items()}
    places = {split: f"{place}/{printable(name)}" for split, name in chosen.items()}
    images, labels = _find_columns(place, parts, image_column, label_column)
    if lacking := [name for name in (images, labels) if name not in [*parts.values()][-1].features]:
        unused["test"] = f"{places['test']} has no column {join_names(lacking)}"
        del parts["test"]
    found = read_labels(parts, labels, lambda split, row: f"{places[split]}[{row}]", classes)
    folder = _folder(dataset) if root is None else Path(root)
    columns = {
        split: ImageColumn(parts[split], images, places[split], folder) for split in found.targets
    }
    _require_files(columns.values(), place, folder, root)
    return assemble_splits(
        _open_sources(columns, found),
        {split: places[split] for split in columns},
        val_fraction=val_fraction,
        seed=seed,
        classes_are_given=found.are_given,
        notes=tuple(notes),
        unused={**unused, **found.unused},
    )


def _require_files(
    columns: Iterable[ImageColumn], place: str, folder: Path, root: str | None
) -> None:
    """Require that the images that are not stored in the tables exist as files."""
    files = [path for column in columns for path in column.files]
    if root is not None and all(map(os.path.isabs, files)):
        raise InputError(f"data.root={root}: has no effect, no image is stored as a relative path")
    require_files(folder, files, place)


def _folder(dataset: str) -> Path:
    path = Path(dataset)
    return path if path.is_dir() else path.parent if path.exists() else Path()


def _find_columns(
    place: str, tables: Mapping[Split, Any], image_column: str | None, label_column: str | None
) -> tuple[str, str]:
    """Return the names of the columns of images and labels, which test images alone may lack."""
    features = [table.features for split, table in tables.items() if split != "test"]
    first, *others = features or [table.features for table in tables.values()]
    shared = {name: kind for name, kind in first.items() if all(name in each for each in others)}
    image = _find_column(place, shared, "data.image_column", image_column, "Image", IMAGE_COLUMNS)
    label = _find_column(
        place, shared, "data.label_column", label_column, "ClassLabel", LABEL_COLUMNS
    )
    return image, label


def _find_column(
    place: str,
    features: Mapping[str, Any],
    key: str,
    name: str | None,
    kind: str,
    usual: Sequence[str],
) -> str:
    """Return the name that the user gives, the only column of a type, or one of a usual name."""
    typed = [column for column, feature in features.items() if type(feature).__name__ == kind]
    if name is None and len(typed) > 1:
        typed = [column for column in typed if column.lower() in usual] or typed
        if len(typed) > 1:
            raise InputError(f"{place} has columns {join_names(typed)}: choose one by {key}")
    if name is None and typed:
        return typed[0]
    return Table(Path(place), dict.fromkeys(features, ()), ()).find(key, name, usual)


def _open_sources(
    columns: Mapping[Split, ImageColumn], labels: Labels
) -> dict[Split, ArrowImages] | dict[Split, ImageFiles]:
    """Return the images of all splits, which are plain files if the tables have only paths.

    The files' names are relative to the innermost folder of all, so that they do not depend on
    where it lies.
    """
    names, targets = labels.class_names, labels.targets
    if any(column.is_stored.any() or not all(column.paths) for column in columns.values()):
        return {split: column.open(names, targets[split]) for split, column in columns.items()}
    paths = {
        split: [os.path.abspath(os.path.join(column.folder, path)) for path in column.paths]
        for split, column in columns.items()
    }
    root = os.path.commonpath([os.path.dirname(path) for each in paths.values() for path in each])
    files = {}
    for split, each in paths.items():
        relative = [path.removeprefix(root).lstrip("/") for path in each]
        samples = sorted(zip(targets[split].tolist(), relative, strict=True))
        files[split] = ImageFiles(Path(root), names, [(name, target) for target, name in samples])
    return files
