"""Files and folders of a data set that are not read, counted by reason."""

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from rednet.wording import count, join_names, printable

MAX_LISTED = 10_000
"""Number of paths that are kept; further ones are only counted."""

# Each reason begins with a noun, which is counted.
HIDDEN = "item hidden or left by a system"
OTHER_SUFFIX = "file without the suffix of an image"
LOOSE_IMAGE = "image outside the class folders"
BESIDE = "folder beside those that are read"
READ_ELSEWHERE = "link to a folder that is read elsewhere"
BROKEN_LINK = "link to nothing"
UNLISTABLE = "folder that cannot be listed"
NOT_A_FILE = "item neither file nor folder"
UNREADABLE = "image that cannot be decoded"

NAMED = (BESIDE, READ_ELSEWHERE, BROKEN_LINK, UNLISTABLE, UNREADABLE)
"""Reasons for which the summary has names."""

LOSSES = (BROKEN_LINK, UNLISTABLE, UNREADABLE)
"""Reasons for which images are likely to be missing."""


class Item(NamedTuple):
    """A file or folder that is not read."""

    reason: str
    path: str
    detail: str


@dataclass
class NotRead:
    """Files and folders that a data set passes over.

    Attributes:
        counts: Number of files and folders, by reason.
        suffixes: Number of files without the suffix of an image, by suffix.
        items: The first files and folders.
    """

    counts: Counter[str] = field(default_factory=Counter)
    suffixes: Counter[str] = field(default_factory=Counter)
    items: list[Item] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.counts)

    def add(self, reason: str, path: str, detail: str | None = None) -> None:
        """Record a file or folder, with a detail about this one."""
        self.counts[reason] += 1
        if len(self.items) < MAX_LISTED:
            self.items.append(Item(reason, path, detail or ""))

    def add_by_suffix(self, path: str) -> None:
        """Record a file without the suffix of an image."""
        self.add(OTHER_SUFFIX, path)
        self.suffixes[suffix_of(path)] += 1

    def describe(self) -> str:
        """Return one line that counts what is not read, a warning if images may be missing."""
        parts = [self._describe(reason) for reason in by_frequency(self.counts)]
        warning = "warning: " if any(self.counts[reason] for reason in LOSSES) else ""
        return f"{warning}not read: {', '.join(parts)}"

    def _describe(self, reason: str) -> str:
        noun, _, rest = reason.partition(" ")
        text = f"{count(self.counts[reason], noun)} {rest}"
        if reason == OTHER_SUFFIX:
            text += f" ({count_suffixes(self.suffixes)})"
        elif reason in NAMED:
            names = [os.path.basename(item.path) for item in self.items if item.reason == reason]
            text += f" ({join_names(sorted(names), limit=3)})"
        return text

    def records(self) -> list[dict[str, str]]:
        """Return a row for each file and folder, and one for those that were only counted."""
        rows = [{name: printable(text) for name, text in i._asdict().items()} for i in self.items]
        if more := self.counts.total() - len(rows):
            rows.append({"reason": "only counted", "path": f"{more} more", "detail": ""})
        return rows


def suffix_of(path: str) -> str:
    """Return the suffix of a file in lower case, or "no suffix"."""
    return os.path.splitext(path)[1].lower() or "no suffix"


def count_suffixes(suffixes: Mapping[str, int], limit: int = 5) -> str:
    """Return the most frequent suffixes with their numbers, such as "12 .txt, 1 .csv"."""
    return join_names([f"{suffixes[suffix]} {suffix}" for suffix in by_frequency(suffixes)], limit)


def by_frequency(counts: Mapping[str, int]) -> list[str]:
    """Return the keys, those with the largest numbers first."""
    return sorted(counts, key=lambda key: (-counts[key], key))
