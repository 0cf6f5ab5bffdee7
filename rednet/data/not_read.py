"""What a folder of images holds that is not read, counted by reason."""

import os
from collections import Counter
from dataclasses import dataclass, field

MAX_LISTED = 10_000
"""Number of paths up to which each is kept; further ones are only counted."""


@dataclass
class NotRead:
    """Files and folders that a data set passes over.

    Attributes:
        counts: Number of files and folders, by reason.
        suffixes: Number of files that are passed over for their suffix, by suffix.
        paths: Reason and path of the first files and folders.
    """

    counts: Counter[str] = field(default_factory=Counter)
    suffixes: Counter[str] = field(default_factory=Counter)
    paths: list[tuple[str, str]] = field(default_factory=list)

    def add(self, reason: str, path: str) -> None:
        """Record a file or folder."""
        self.counts[reason] += 1
        if len(self.paths) < MAX_LISTED:
            self.paths.append((reason, path))

    def add_suffix(self, path: str) -> None:
        """Record a file whose suffix is not that of an image."""
        self.add(OTHER_SUFFIX, path)
        self.suffixes[os.path.splitext(path)[1].lower() or "none"] += 1


OTHER_SUFFIX = "other suffix"
