"""Names that files of weights give to things, in lines for a terminal."""

from collections.abc import Collection

NAMED_AT_MOST = 4
LONGEST = 300


def printable(text: str) -> str:
    """Text of a file, without control characters and not too long."""
    shown = text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in shown)


def list_some(names: Collection[object]) -> str:
    """The first few of some names, and how many there are beside."""
    shown = [printable(str(name)) for name in list(names)[:NAMED_AT_MOST]]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f", and {more} more" if more else "")
