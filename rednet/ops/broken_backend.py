"""What is known of a backend that should be available and is not."""


class BrokenBackend(str):
    """An unavailable reason that users can fix, and are therefore warned about once."""


class BackendFailure(RuntimeError):
    """A backend that has worked fails."""
