"""Training images that cannot be read: reported, counted, limited."""

import torch

from rednet.errors import InputError
from rednet.runtime import Runtime
from rednet.wording import count


class UnreadableImages:
    """Counts the images that training skips because they cannot be read.

    Args:
        limit: Most images that a run may skip, over all ranks.
        runtime: Processes to count over.
    """

    def __init__(self, limit: int, runtime: Runtime) -> None:
        self.limit, self.runtime = limit, runtime
        self.count = 0
        self._pending = 0

    def add(self, images: list[tuple[str, str]]) -> None:
        """Report (name, reason) of images that this rank skipped."""
        for name, reason in images:
            print(f"warning: image skipped: {name} ({reason})", flush=True)
        self._pending += len(images)

    def check(self) -> None:
        """Add up the count over all ranks, which synchronises them.

        Raises:
            InputError: On every rank, if there are more than `limit`.
        """
        pending = torch.tensor(self._pending, device=self.runtime.device)
        self.count += int(self.runtime.sum(pending))
        self._pending = 0
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
