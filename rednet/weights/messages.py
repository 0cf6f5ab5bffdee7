"""Text from files of weights, made safe and short for one-line messages."""

from collections.abc import Collection

from rednet import wording

MAX_NAMES = 4
MAX_LENGTH = 300


def printable(text: str) -> str:
    """Escape control characters and shorten long text."""
    shown = text if len(text) <= MAX_LENGTH else f"{text[:MAX_LENGTH]}..."
    return wording.printable(shown)


def list_some(names: Collection[object]) -> str:
    """List the first few names and count the others."""
    shown = [printable(str(name)) for name in list(names)[:MAX_NAMES]]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f", and {more} more" if more else "")
