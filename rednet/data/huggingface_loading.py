"""Load a data set with the `datasets` package, and find its splits."""

import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rednet.data.split_names import TITLES, Split, parse_split
from rednet.errors import InputError
from rednet.wording import join_names, printable

PARQUET = ".parquet"


def load_tables(dataset: str, config: str | None) -> dict[str, Any]:
    """Return the tables of a data set by the names of their splits.

    Args:
        dataset: A folder written by `save_to_disk`, a folder or parquet file that `load_dataset`
            reads, or a name on the Hub.
        config: Name of its configuration, if it has several.

    Raises:
        InputError: The datasets package is missing, or the data set cannot be read.
    """
    try:
        import datasets
    except ImportError as error:
        raise InputError(
            f'data.dataset={dataset} needs datasets: pip install "rednet[huggingface]"'
        ) from error
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    try:
        with _without_log():
            loaded = _load(datasets, dataset, config)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # of pyarrow, fsspec, the Hub's client and the package's own
        raise InputError(_describe_failure(dataset, error)) from error
    if isinstance(loaded, Mapping):
        return {str(name): table for name, table in loaded.items()}
    return {str(loaded.split or "train"): loaded}


@contextmanager
def _without_log() -> Iterator[None]:
    """Keep the package from printing what it raises as well."""
    log = logging.getLogger("datasets")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)


def _load(datasets: Any, dataset: str, config: str | None) -> Any:
    path = Path(dataset)
    if any((path / name).is_file() for name in ("dataset_dict.json", "state.json")):
        if config is not None:
            raise InputError(
                f"data.config={config}: has no effect, {dataset} was written by save_to_disk"
            )
        return datasets.load_from_disk(dataset)
    if path.suffix == PARQUET:
        return datasets.load_dataset("parquet", config, data_files=dataset)
    if not path.exists() and _looks_like_path(dataset):
        raise InputError(f"data.dataset={dataset}: there is no such folder or file")
    # A relative path could also be the name of one of the package's own builders, such as csv.
    return datasets.load_dataset(os.path.abspath(dataset) if path.exists() else dataset, config)


def _looks_like_path(dataset: str) -> bool:
    return os.path.isabs(dataset) or dataset.startswith(".") or dataset.count("/") > 1


def _describe_failure(dataset: str, error: Exception) -> str:
    cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
    reason = printable(" ".join(str(cause).split()) or type(cause).__name__)
    if Path(dataset).exists() or Path(dataset).suffix == PARQUET:
        return f"data.dataset={dataset} cannot be read: {reason}"
    return f"data.dataset={dataset} is no folder here, and cannot be read from the Hub: {reason}"


def choose_splits(
    place: str, names: Sequence[str], train_split: str | None, val_split: str | None
) -> tuple[dict[Split, str], dict[Split, str], list[str]]:
    """Find the splits of a data set by their names, such as "train" and "validation".

    Args:
        place: Name of the data set.
        names: Names of its splits.
        train_split: Name of the training images' split, if the user gives it.
        val_split: Name of the validation images' split, if the user gives it.

    Returns:
        The name of each split that there is, why another one is not used, and notes.

    Raises:
        InputError: There is no split of a given name, or it is not clear which ones are meant.
    """
    chosen: dict[Split, str] = {}
    given: dict[Split, str | None] = {"train": train_split, "val": val_split}
    for split, name in given.items():
        if name is None:
            continue
        if name not in names:
            raise InputError(
                f"data.{split}_split={name}: {place} has no such split; its splits are "
                f"{join_names(names, limit=20)}"
            )
        if name in chosen.values():
            raise InputError(f"data.val_split={name}: is data.train_split, too")
        chosen[split] = name
    rest = [name for name in names if name not in chosen.values()]
    unused: dict[Split, str] = {}
    for split in TITLES:
        found = [] if split in chosen else _named(split, rest)
        if found[1:] and split == "test":
            unused[split] = f"{place} has several splits of them, {join_names(found)}"
        elif found[1:]:
            raise InputError(
                f"{place} has several splits of {TITLES[split]} images, {join_names(found)}: "
                f"choose by data.{split}_split"
            )
        elif found:
            chosen[split] = found[0]
    if not chosen and len(names) == 1:
        chosen["train"] = names[0]
    if not chosen:
        raise InputError(
            f"{place} has no split that is called train or validation, only {join_names(names)}: "
            "choose by data.train_split and data.val_split"
        )
    left = [name for name in names if name not in chosen.values()]
    notes = [f"splits of {place} that are not read: {join_names(left)}"] if left else []
    return {split: chosen[split] for split in TITLES if split in chosen}, unused, notes


def _named(split: Split, names: Sequence[str]) -> list[str]:
    """Return the names that stand for a split, if possible those without other words."""
    parsed = {name: parse_split(name) for name in names}
    found = {name: parts[1] for name, parts in parsed.items() if parts and parts[0] == split}
    return [name for name, others in found.items() if not others] or list(found)
