"""List the images below folders, each real folder once."""

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from rednet.data.folder_entries import (
    Entries,
    Identity,
    has_images,
    identities_around,
    identity,
    scan,
)
from rednet.data.linked_images import warn_of_shared_images
from rednet.data.listing import Listing
from rednet.data.not_read import READ_ELSEWHERE, UNLISTABLE, NotRead
from rednet.data.split_names import Split
from rednet.errors import InputError
from rednet.wording import printable

Found = tuple[Listing, str]
"""A listing, and the path of a folder relative to its root."""


class FolderReader:
    """Reads the folders of a data set.

    A folder that several links lead to, or that contains itself through a link, is read once. A
    real folder takes precedence over links to it. Links to folders around the data set are not
    followed.

    Attributes:
        not_read: What was passed over.
        notes: What the user should know about the folders.
        unused: Why the images of a split are not used, by split.
    """

    def __init__(self) -> None:
        self.not_read = NotRead()
        self.notes: list[str] = []
        self.unused: dict[Split, str] = {}
        self._entries: dict[str, Entries] = {}
        self._has_images: dict[Path, bool] = {}
        self._seen: set[Identity] = set()

    def entries(self, folder: Path) -> Entries:
        """Return the names in a folder; links to the folder itself and to those around it are lost.

        Raises:
            InputError: The folder is missing, not a folder or not readable.
        """
        path = str(folder)
        if path not in self._entries:
            try:
                entries = scan(path, self.not_read)
            except NotADirectoryError as error:
                raise InputError(
                    f"data folder {printable(path)} is a file: expected a folder; unpack an archive"
                ) from error
            except OSError as error:
                raise InputError(
                    f"data folder {printable(path)} cannot be read: {error.strerror}"
                ) from error
            around = identities_around(folder) if entries.links else set()
            loops = {name for name in entries.links if identity(f"{path}/{name}") in around}
            for name in sorted(loops):
                self.not_read.add(READ_ELSEWHERE, f"{path}/{name}")
            links = [name for name in entries.links if name not in loops]
            self._entries[path] = entries._replace(links=links)
        return self._entries[path]

    def subfolders(self, folder: Path) -> list[str]:
        """Return the sorted names of the folders in a folder, links included."""
        entries = self.entries(folder)
        return sorted(entries.folders + entries.links)

    def folders_with_images(self, folder: Path) -> Iterator[str]:
        """Yield the names of the folders in a folder that hold an image at any depth."""
        for name in self.subfolders(folder):
            path = folder / name
            if path not in self._has_images:
                self._has_images[path] = has_images(path)
            if self._has_images[path]:
                yield name

    def is_nested(self, folder: Path) -> bool:
        """Return whether a folder holds folders of images, rather than images."""
        inner = len(list(islice(self.folders_with_images(folder), 2)))
        return inner == 2 or (inner == 1 and not self.entries(folder).images)

    def list_images(self, roots: Sequence[Path]) -> list[Listing]:
        """List the images below each subfolder of each root."""
        listings = [Listing(root) for root in roots]
        for root in roots:
            self._seen |= identities_around(root)
        links: deque[Found] = deque()
        for listing in listings:
            entries = self.entries(listing.root)
            for name in entries.folders:
                links += self._walk(listing, name)
            links += [(listing, name) for name in sorted(entries.links)]
        while links:
            links += self._walk(*links.popleft())
        for listing in listings:
            listing.images = {name: sorted(listing.images[name]) for name in sorted(listing.images)}
        self.notes += warn_of_shared_images(listings)
        return listings

    def _walk(self, listing: Listing, start: str) -> list[Found]:
        """Add the images below a folder to a listing; return the links to folders in it."""
        name = start.partition("/")[0]
        links: list[Found] = []
        pending = [start]
        while pending:
            inside = pending.pop()
            path = f"{listing.root}/{inside}"
            if (key := identity(path)) in self._seen:
                self.not_read.add(READ_ELSEWHERE, path)
                continue
            self._seen.add(key)
            images = listing.images.setdefault(name, [])
            try:
                entries = scan(path, self.not_read)
            except OSError as error:
                self.not_read.add(UNLISTABLE, path, error.strerror)
                listing.unlistable.setdefault(name, error.strerror or "")
                continue
            images += [f"{inside}/{image}" for image in entries.images]
            listing.linked.update({f"{inside}/{k}": v for k, v in entries.linked.items()})
            prefix = f"{inside}/".removeprefix(f"{name}/")
            listing.inner.setdefault(name, set()).update(
                f"{prefix}{folder}" for folder in entries.folders + entries.links
            )
            pending += [f"{inside}/{folder}" for folder in entries.folders]
            links += [(listing, f"{inside}/{link}") for link in sorted(entries.links)]
        return links
