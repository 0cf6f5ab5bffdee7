"""The one exception that means: the user gave something that cannot work."""


class InputError(ValueError):
    """What the user gave is wrong: the message says what, where, and what would be right.

    The commands print it as one line and leave with exit code 2; in Python it is a ``ValueError``.
    """
