"""Training images that cannot be read: reported, counted, limited."""

from rednet.errors import InputError
from rednet.program import say
from rednet.wording import count


class UnreadableImages:
    """Counts the images that training skips because they cannot be read.

    Args:
        limit: Most images that a run may skip, over all ranks.

    Attributes:
        count: Images skipped so far, over all ranks.
        pending: Images that this rank skipped and `count` does not include yet.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.count = self.pending = 0

    def add(self, images: list[tuple[str, str]]) -> None:
        """Report (name, reason) of images that this rank skipped."""
        for name, reason in images:
            say(f"warning: image skipped: {name} ({reason})")
        self.pending += len(images)

    def settle(self, pending: int) -> None:
        """Add the sum of `pending` over all ranks to the count.

        Raises:
            InputError: On every rank, if there are more than `limit`.
        """
        self.pending = 0
        self.count += pending
        if self.count > self.limit:
            raise InputError(
                f"{count(self.count, 'training image')} could not be read, more than "
                f"data.max_unreadable={self.limit}; the warnings name them"
            )

    def state_dict(self) -> dict[str, int]:
        """Return the count."""
        return {"unreadable": self.count}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Restore the count."""
        self.count = state["unreadable"]
