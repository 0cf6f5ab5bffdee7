"""Recognise the names of folders of training, validation and test images."""

import re
import unicodedata
from typing import Literal

Split = Literal["train", "val", "test"]

TITLES: dict[Split, str] = {"train": "training", "val": "validation", "test": "test"}

WORDS: dict[Split, frozenset[str]] = {
    "train": frozenset(("train", "training", "trn", "trainval")),
    "val": frozenset((
        "val", "valid", "validate", "validating", "validation",
        "dev", "devel", "development", "eval", "evaluation",
    )),
    "test": frozenset(("test", "testing", "tests", "tst", "holdout", "heldout")),
}  # fmt: skip
"""Words that name a split, alone or with others, as in ``train_set`` and ``seg_train``."""

FILLERS = frozenset((
    "data", "dataset", "datasets", "folder", "image", "images", "img", "imgs", "part",
    "photo", "photos", "picture", "pictures", "sample", "samples", "set", "split", "subset",
))  # fmt: skip
"""Words that say nothing about a split, as in ``train_images``."""


def parse_split(name: str) -> tuple[Split, str] | None:
    """Return the split that a folder's name stands for, and the other words of the name.

    ``Training``, ``train_set`` and ``TrainSet`` give ("train", ""), ``seg_train`` gives
    ("train", "seg"), and ``train2017`` gives ("train", "2017"). A name of several splits, such as
    ``train_test_split``, stands for none; ``train_val`` is the training part beside a test folder.
    """
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", unicodedata.normalize("NFKC", name))
    tokens = re.findall(r"[^\W\d_]+|\d+", spaced.casefold())
    found = {token: split for token in tokens if (split := _split_of(token))}
    splits = set(found.values())
    if splits == {"train", "val"}:
        splits = {"train"}
    if len(splits) != 1:
        return None
    others = [token for token in tokens if token not in found and token not in FILLERS]
    return splits.pop(), " ".join(others)


def _split_of(token: str) -> Split | None:
    """Return the split of a word, which can have a filler appended, as in ``trainset``."""
    for split, words in WORDS.items():
        if token in words or any(
            f"{word}{filler}" == token for word in words for filler in FILLERS
        ):
            return split
    return None
