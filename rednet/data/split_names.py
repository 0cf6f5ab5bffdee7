"""Recognise the names of folders of training, validation and test images."""

import re
import unicodedata
from typing import Literal

Split = Literal["train", "val", "test"]

TITLES: dict[Split, str] = {"train": "training", "val": "validation", "test": "test"}

EVALUATION = frozenset(("eval", "evaluation"))

WORDS: dict[Split, frozenset[str]] = {
    "train": frozenset(("train", "training", "trn", "trainval")),
    "val": EVALUATION
    | {"val", "valid", "validate", "validating", "validation", "dev", "devel", "development"},
    "test": frozenset(("test", "testing", "tests", "tst", "holdout", "heldout")),
}  # fmt: skip
"""Words that name a split, alone or with others, as in ``train_set`` and ``seg_train``."""

FILLERS = frozenset((
    "batch", "chunk", "data", "dataset", "datasets", "fold", "folder", "image", "images",
    "img", "imgs", "part", "photo", "photos", "picture", "pictures", "set", "shard", "split",
    "subset",
))  # fmt: skip
"""Words that say nothing about a split, as in ``train_images``."""


def parse_split(name: str) -> tuple[Split, str] | None:
    """Return the split that a folder's name stands for, and the other words of the name.

    ``Training``, ``train_set`` and ``TrainSet`` give ("train", ""), ``seg_train`` gives
    ("train", "seg"), and ``train2017`` gives ("train", "2017"). A name of several splits, such as
    ``train_test_split``, stands for none; ``train_val`` is the training part beside a test folder.
    """
    tokens = _words(name)
    found = {token: split for token in tokens if (split := _split_of(token))}
    splits = set(found.values())
    if splits == {"train", "val"}:
        splits = {"train"}
    if len(splits) != 1:
        return None
    others = [token for token in tokens if token not in found and token not in FILLERS]
    return splits.pop(), " ".join(others)


def is_evaluation(name: str) -> bool:
    """Return whether a name has a word for evaluation, which is also said of test images."""
    return any(
        word.removesuffix(filler) in EVALUATION
        for word in _words(name)
        for filler in ("", *FILLERS)
    )


def is_numbered_part(name: str) -> bool:
    """Return whether a name is that of a part of the images, such as ``images_part_1``."""
    words = _words(name)
    return any(word.isdigit() for word in words) and any(word in FILLERS for word in words)


def without_digits(name: str) -> str:
    """Return the words of a name that are no numbers."""
    return " ".join(word for word in _words(name) if not word.isdigit())


def _words(name: str) -> list[str]:
    """Return the words and numbers of a name, in lower case."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", unicodedata.normalize("NFKC", name))
    return re.findall(r"[^\W\d_]+|\d+", spaced.casefold())


def _split_of(token: str) -> Split | None:
    """Return the split of a word, which can have a filler appended, as in ``trainset``."""
    for split, words in WORDS.items():
        if token in words or any(
            f"{word}{filler}" == token for word in words for filler in FILLERS
        ):
            return split
    return None
