"""Find images that links put into several splits or classes."""

from collections import defaultdict
from collections.abc import Sequence

from rednet.data.folder_entries import Identity, identity
from rednet.data.listing import Listing
from rednet.wording import count, printable


def warn_of_shared_images(listings: Sequence[Listing]) -> list[str]:
    """Return a line if links put an image into several splits, and one if into several classes.

    A real file costs a system call, but only in data sets where images are links.
    """
    targets = {target for listing in listings for target in listing.linked.values()}
    places: dict[Identity, set[tuple[int, str]]] = defaultdict(set)
    paths: dict[Identity, str] = {}
    for number, listing in enumerate(listings if targets else ()):
        for name, images in listing.images.items():
            for image in images:
                path = f"{listing.root}/{image}"
                target = listing.linked.get(image) or identity(path)
                if target in targets:
                    places[target].add((number, name))
                    paths[target] = path
    several_splits = [key for key, found in places.items() if len({n for n, _ in found}) > 1]
    several_classes = [key for key, found in places.items() if len({c for _, c in found}) > 1]
    return [
        f"warning: through links, {count(len(keys), 'image')} can be found in several {what}, such "
        f"as {printable(paths[keys[0]])}"
        for what, keys in (("splits", several_splits), ("classes", several_classes))
        if keys
    ]
