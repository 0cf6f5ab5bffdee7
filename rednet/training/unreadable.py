"""Training images that cannot be read: reported, counted, limited."""

from collections.abc import Iterable, Mapping
from typing import Any

from rednet.data import Batch
from rednet.program import say
from rednet.runtime import Runtime
from rednet.wording import count, join_names


class UnreadableImages:
    """The images that training skips because they cannot be read, each counted once in a run.

    Args:
        limit: Most images that a run may skip, over all ranks.

    Attributes:
        names: Names of the images known to all ranks, by index in the source.
        pending: Names of images that only this rank knows yet.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.names: dict[int, str] = {}
        self.pending: dict[int, str] = {}

    def add(self, batches: Iterable[Batch]) -> None:
        """Report the images that this rank skips for the first time."""
        for batch in batches:
            for index, (name, reason) in zip(
                batch.unreadable_indices, batch.unreadable, strict=True
            ):
                if index not in self.names and index not in self.pending:
                    say(f"warning: image skipped: {name} ({reason})")
                    self.pending[index] = name

    def settle(self, runtime: Runtime) -> str:
        """Tell all ranks about the pending images of each; all must call this together.

        Returns:
            On every rank, why the run must end, if there are more than `limit`; otherwise nothing.
        """
        for pending in runtime.gather(self.pending):
            self.names.update(pending)
        self.pending = {}
        if len(self.names) <= self.limit:
            return ""
        return (
            f"{count(len(self.names), 'training image')} could not be read, more than "
            f"data.max_unreadable={self.limit}: {join_names(list(self.names.values()))}; repair or "
            "remove them"
        )

    def forget(self) -> None:
        """Know of no image, since they are others now."""
        self.names, self.pending = {}, {}

    def state_dict(self) -> dict[str, Any]:
        """Return the images."""
        return {"unreadable": len(self.names), "unreadable_images": dict(self.names)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the images.

        Earlier checkpoints have a number only, which counted an image in each epoch anew. It is
        forgotten: the images will be met again.
        """
        self.names, self.pending = dict(state.get("unreadable_images", {})), {}
