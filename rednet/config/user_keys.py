"""The keys that the user set."""

from collections.abc import Collection, Iterable


class UserKeys(frozenset[str]):
    """Dotted keys that the user set, on the command line or by a file.

    Attributes:
        meant: Those that are meant to have an effect. A whole configuration in a file, such as that
            of an earlier run, has all keys and means none.
    """

    meant: frozenset[str]

    def __new__(cls, keys: Iterable[str], meant: Iterable[str]) -> "UserKeys":
        """Create the set of `keys`, of which `meant` are meant to have an effect."""
        user_keys = super().__new__(cls, keys)
        user_keys.meant = frozenset(meant)
        return user_keys


def meant_keys(keys: Collection[str]) -> Collection[str]:
    """Return those of the keys that are meant to have an effect; of a plain set, all are."""
    return keys.meant if isinstance(keys, UserKeys) else keys
