"""The exception for invalid input."""


class InputError(ValueError):
    """The user's input is invalid; the message says what is wrong, where, and how to fix it.

    The commands print the message as one line and exit with code 2.
    """
