"""Lines that tell the user how a data set was understood."""

from collections import Counter
from collections.abc import Sequence

from rednet.data.sources import ImageSource, Splits
from rednet.data.split_names import TITLES
from rednet.wording import count, printable


def summarize_splits(splits: Splits) -> list[str]:
    """Return lines about the classes, where each split comes from, and what to know about both."""
    source = splits.train or splits.val
    assert source is not None
    lines = [describe_classes(source, f"{TITLES['train' if splits.train else 'val']} image")]
    if origins := _describe_origins(splits):
        lines.append(origins)
    unused = [f"no {TITLES[s]} images are used: {why}" for s, why in splits.unused.items()]
    return [*lines, *splits.notes, *unused]


def describe_classes(source: ImageSource, noun: str = "image") -> str:
    """Return the first and the last class, and the images of the smallest and largest class."""
    names, counts = source.class_names, Counter(source.targets)
    least, most = min(counts.values()), max(counts.values())
    each = f"{least} to " if least < most else ""
    with_images = f", {len(counts)} with images" if len(counts) < len(names) else ""
    return (
        f"{count(len(names), 'class')}, {printable(names[0])} to {printable(names[-1])}"
        f"{with_images}; {each}{count(most, noun)} each"
    )


def _describe_origins(splits: Splits) -> str:
    """Return where each split comes from; splits with the same origin are named together."""
    titles: dict[str, list[str]] = {}
    for split, title in TITLES.items():
        if split in splits.origins and getattr(splits, split) is not None:
            titles.setdefault(splits.origins[split], []).append(title)
    how = ", split by data.val_fraction" if splits.whole else ""
    return "; ".join(
        f"{_join(names)} images from {printable(origin)}{how}" for origin, names in titles.items()
    )


def _join(words: Sequence[str]) -> str:
    """Return "a, b and c"."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
