"""The other ranks as this one sees them, and when one of them counts as missing."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rednet.ranks.meeting import Peer
from rednet.ranks.pulse import Pulse


class View:
    """The last pulse of a rank, and for how many looks it has been the same.

    Attributes:
        peer: The rank.
        pulse: What it last said, see `Pulse`; `answers` counts how often it said something.
        silent: Looks since it last said something.
        still: Looks since it last made progress or waited for others.
    """

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.pulse: dict[str, Any] = {"answers": 0, **asdict(Pulse())}
        self.silent = self.still = 0
        self._seen = self.pulse

    def look(self) -> bool:
        """Take note of what has changed; return whether the rank has made progress."""
        pulse, seen = self.pulse, self._seen
        has_moved: bool = pulse["beats"] != seen["beats"]
        self.silent = 0 if pulse["answers"] != seen["answers"] else self.silent + 1
        self.still = 0 if has_moved or pulse["is_waiting"] else self.still + 1
        self._seen = pulse
        return has_moved


class Judge:
    """Finds a rank that is missing.

    Looks are counted instead of seconds: that forgives a pause of the whole machine, and a machine
    that is busy slows down both sides.

    Args:
        own: View of this rank, as far as the store has accepted it.
        others: Views of the ranks that this one looks at.
        timeout_s: How long a rank may stand still, in seconds.
        patience_s: The same where a long time without a sign of progress is normal.
        pause_s: Time between two looks in seconds.
    """

    def __init__(
        self,
        own: View,
        others: Sequence[View],
        timeout_s: float,
        patience_s: float,
        pause_s: float,
    ) -> None:
        self.own, self.others = own, others
        self.timeout_s, self.patience_s, self.pause_s = timeout_s, patience_s, pause_s
        self._stuck = 0

    def find_missing(self) -> str | None:
        """Look once; return a line about a rank that is missing, None if none is."""
        views = [self.own, *self.others]
        has_moved = [view.look() for view in views]
        all_wait = all(view.pulse["is_waiting"] for view in views)
        self._stuck = self._stuck + 1 if all_wait and not any(has_moved) else 0
        silent = [view for view in views if view.silent * self.pause_s >= self.timeout_s]
        if self.own in silent:
            return f"the store of the run has not answered for {self.timeout_s:g} s"
        if silent:
            return _describe(silent, "not answered", self.timeout_s)
        is_patient = any(view.pulse["is_patient"] for view in views)
        limit_s = max(self.timeout_s, self.patience_s) if is_patient else self.timeout_s
        still = [view for view in self.others if view.still * self.pause_s >= limit_s]
        if still:
            return _describe(still, "made no progress", limit_s)
        if self._stuck * self.pause_s >= limit_s:
            return _describe(views, "waited for each other and made no progress", limit_s)
        return None


def _describe(views: Sequence[View], what: str, seconds: float) -> str:
    names = " and ".join(str(view.peer) for view in views)
    verb = "has" if len(views) == 1 else "have"
    return f"{names} {verb} {what} for {seconds:g} s, last seen at step {views[0].pulse['step']}"
