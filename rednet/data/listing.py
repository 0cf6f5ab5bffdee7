"""The images that a folder of class folders was found to hold."""

from dataclasses import dataclass, field
from pathlib import Path

from rednet.data.folder_entries import Identity


@dataclass
class Listing:
    """The images below a folder.

    Attributes:
        root: The folder.
        images: Images of each of its subfolders, relative to `root`, sorted.
        linked: The file that each image leads to which is a link.
        inner: Folders at any depth in each subfolder, relative to it.
        unlistable: Reason for each subfolder that could not be listed.
    """

    root: Path
    images: dict[str, list[str]] = field(default_factory=dict)
    linked: dict[str, Identity] = field(default_factory=dict)
    inner: dict[str, set[str]] = field(default_factory=dict)
    unlistable: dict[str, str] = field(default_factory=dict)
