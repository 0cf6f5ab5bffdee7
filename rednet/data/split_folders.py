"""Choose the folders of training, validation and test images by their names."""

from collections import defaultdict
from itertools import islice
from pathlib import Path

from rednet.data.folder_entries import identity
from rednet.data.folder_reader import FolderReader
from rednet.data.split_names import TITLES, Split, is_evaluation, parse_split
from rednet.errors import InputError
from rednet.wording import join_names, printable

Names = dict[Split, list[str]]
"""Names of the folders that can be each split."""


def choose_splits(folder: Path, reader: FolderReader, by_name_alone: bool) -> dict[Split, str]:
    """Return the name of each split's folder, or nothing if the folder holds classes.

    A training folder and another one whose names have the same other words are a pair, as
    ``seg_train`` and ``seg_test``, whatever they hold. Any other folder could be a class; it is a
    split if it holds folders of images.

    Args:
        folder: Folder of the splits or classes.
        reader: Reader of the folders.
        by_name_alone: Whether no class can be named like a split.

    Raises:
        InputError: Several folders could be the same split, or it is not clear whether a folder is
            a split or a class.
    """
    groups: dict[str, Names] = defaultdict(lambda: defaultdict(list))
    single: Names = defaultdict(list)
    for name in reader.subfolders(folder):
        if parsed := parse_split(name):
            split, words = parsed
            groups[words][split].append(name)
            if by_name_alone or reader.is_nested(folder / name):
                single[split].append(name)
    pair = _choose_pair(folder, groups)
    if not (pair or by_name_alone):
        if len(single) == 1 and _is_around_splits(folder, single, reader):
            return {}
        _require_no_classes(folder, single, reader)
    if pair:  # other names only stand for splits that are missing in the pair
        single = {split: found for split, found in single.items() if len(found) == 1}
    names = {**single, **pair}
    if "test" not in names and len(names.get("val", ())) > 1:
        names |= _tell_evaluation_apart(names["val"])
    chosen = {split: _only(split, folder, names[split]) for split in TITLES if split in names}
    _require_distinct(folder, chosen)
    return chosen


def _choose_pair(folder: Path, groups: dict[str, Names]) -> Names:
    """Return the folders whose names match, those without other words if there are such."""
    pairs = {words: n for words, n in groups.items() if "train" in n and len(n) > 1}
    if len(pairs) > 1 and "" not in pairs:
        raise _several("train", folder, [name for n in pairs.values() for name in n["train"]])
    return pairs.get("") or next(iter(pairs.values()), {})


def _is_around_splits(folder: Path, single: Names, reader: FolderReader) -> bool:
    """Return whether the only folder that could be a split holds splits itself."""
    ((name, *_),) = single.values()
    return bool(choose_splits(folder / name, reader, by_name_alone=False))


def _require_no_classes(folder: Path, single: Names, reader: FolderReader) -> None:
    """Require that no other folder has images, unless there are training and other images."""
    if not single or ("train" in single and len(single) > 1):
        return
    others = (name for name in reader.folders_with_images(folder) if not parse_split(name))
    if classes := list(islice(others, 3)):
        split, (name, *_) = next(iter(single.items()))
        raise InputError(
            f"{printable(folder)}: {printable(name)} is named like the {TITLES[split]} images, "
            f"{join_names(classes)} like classes: call the splits train, val and test, or give "
            f"data.root={printable(folder / name)} to read it alone"
        )


def _tell_evaluation_apart(names: list[str]) -> Names:
    """Return ``evaluation`` as the test images beside ``validation``."""
    evaluation = [name for name in names if is_evaluation(name)]
    others = [name for name in names if name not in evaluation]
    return {"val": others, "test": evaluation} if evaluation and others else {}


def _only(split: Split, folder: Path, names: list[str]) -> str:
    """Return the only one of several folders; links to the same folder count once."""
    distinct = {identity(str(folder / name)): name for name in sorted(names, reverse=True)}
    if len(distinct) > 1:
        raise _several(split, folder, names)
    return next(iter(distinct.values()))


def _several(split: Split, folder: Path, names: list[str]) -> InputError:
    return InputError(
        f"{printable(folder)} has several folders of {TITLES[split]} images: "
        f"{join_names(names)}; rename or move all but one"
    )


def _require_distinct(folder: Path, chosen: dict[Split, str]) -> None:
    names = sorted(chosen.values())
    if len({identity(str(folder / name)) for name in names}) < len(names):
        raise InputError(
            f"{printable(folder)}: {join_names(names)} are the same folder through a link: the "
            "training images would be those to validate with"
        )
