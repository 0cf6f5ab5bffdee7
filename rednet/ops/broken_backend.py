"""What a backend answers where it should run and cannot."""


class BrokenBackend(str):
    """Why a backend cannot run where it should: a reason that the user has to be told of."""
