"""Notices a rank that stands still or has failed, and ends this process then."""

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from threading import Event, Thread

from rednet.errors import START_AGAIN, StartAgain
from rednet.ranks.ending import end_now
from rednet.ranks.meeting import Meeting, Peer
from rednet.ranks.pulse import PULSE
from rednet.ranks.view import Judge, View

LOOKS = 20
"""How often a rank is looked at before it counts as missing."""
LONGEST_PAUSE_S = 1.0
PATIENCE_S = 1800.0
"""Least time without a sign of progress while `Pulse.is_patient`, in seconds."""
GRACE_S, SHORT_GRACE_S = 10.0, 1.0
"""Longest time in seconds that a rank has to end by itself after another one failed, and the same
while it waits for others: it waits in vain."""
HANGING_UP_S = 1.0
"""Longest time in seconds between the end of a process's connections and its own."""
VERDICT = "verdict"
"""Key of what ended the run: (exit code, line)."""
LOST = (
    *("Connection closed by peer", "Connection reset by peer", "Connection refused", "Broken pipe"),
    *("ncclRemoteError", "ncclSystemError", "NCCL communicator was aborted", "Timed out waiting"),
)
"""What gloo and NCCL say when another process has gone."""


class Watch:
    """Two threads that tell the other ranks how this one does, and judge how they do.

    The first rank looks at all the others, and they at the first. A rank is missing if its process
    does not answer, or if it answers but makes no progress while it waits for nobody. Whoever
    notices that ends the run on all ranks. The process ends in the thread, since the main thread is
    inside a collective operation, which nothing interrupts.

    One thread talks to the store, which may not answer either; the other one never blocks.

    Args:
        meeting: Where the ranks met.
        peers: All ranks.
        timeout_s: How long a rank may be silent, in seconds.
    """

    def __init__(self, meeting: Meeting, peers: Sequence[Peer], timeout_s: float) -> None:
        self.rank, self.store, self.peers = meeting.place.rank, meeting.store, peers
        self.timeout_s = timeout_s
        self.pause_s = min(LONGEST_PAUSE_S, timeout_s / LOOKS)
        self.views = [View(peer) for peer in peers if (peer.rank == 0) != (self.rank == 0)]
        self.own_view = View(peers[self.rank])
        times = timeout_s, PATIENCE_S, self.pause_s
        self.judge = Judge(self.own_view, self.views, *times)
        self.verdict: tuple[int, str] | None = None
        self._ended, self._checkpoint = Event(), ""
        self._put()
        self.store.wait([f"pulse/{peer.rank}" for peer in peers])
        self._get()
        self.threads = [Thread(target=each, daemon=True) for each in (self._talk, self._judge)]
        for thread in self.threads:
            thread.start()

    def close(self) -> None:
        """Stop watching, when all ranks leave together."""
        self._ended.set()
        for thread in self.threads:
            thread.join(self.timeout_s)

    def fail(self, code: int, *, wait: bool) -> bool:
        """Tell the other ranks that this one ends with an exit code.

        Args:
            code: The exit code.
            wait: Whether to wait for the others to end, too.

        Returns:
            Whether all ranks have left by themselves.
        """
        self._ended.set()
        self._propose(code, "")
        keys = [f"left/{peer.rank}" for peer in self.peers]
        end = time.monotonic() + min(GRACE_S, self.timeout_s) + 2 * self.pause_s
        with suppress(RuntimeError):  # the process of the store has ended
            self.store.set(f"left/{self.rank}", "")
            while wait and time.monotonic() < end:
                if self.store.check(keys):
                    return True
                time.sleep(0.01)
        return False

    def explain(self, error: BaseException) -> StartAgain | None:
        """Return what to raise instead of an error if it comes from the loss of another rank."""
        reason = next((text for text in LOST if text in str(error)), None)
        if reason is None or not isinstance(error, RuntimeError):
            return None
        if (verdict := self._read_verdict()) is not None:
            return StartAgain("", verdict[0])  # another rank has said why
        gone = self._find_ended()
        who = f"{' and '.join(gone)} has ended" if gone else f"a rank has ended ({reason})"
        return StartAgain(f"{who}, last seen at step {PULSE.step}{self._advice()}")

    def _find_ended(self) -> list[str]:
        """Return the ranks that have ended, where it can be known: just after they hang up."""
        end = time.monotonic() + HANGING_UP_S
        while not (gone := [str(peer) for peer in self.peers if peer.has_ended()]):
            if time.monotonic() > end:
                break
            time.sleep(0.01)
        return gone

    def _talk(self) -> None:
        while not self._ended.wait(self.pause_s):
            with suppress(RuntimeError):  # no answer, which the judge notices
                self._put()
                self._get()

    def _put(self) -> None:
        """Tell the other ranks how this one does."""
        pulse = {"answers": self.own_view.pulse["answers"] + 1, **asdict(PULSE)}
        self.store.set(f"pulse/{self.rank}", json.dumps(pulse))
        self.own_view.pulse = pulse

    def _get(self) -> None:
        """Look how the others do."""
        values = self.store.multi_get([f"pulse/{view.peer.rank}" for view in self.views])
        for view, value in zip(self.views, values, strict=True):
            view.pulse = json.loads(value)
        self._checkpoint = max(view.pulse["checkpoint"] for view in (self.own_view, *self.views))
        self.verdict = self._read_verdict()

    def _judge(self) -> None:
        """End the process when another rank is missing, or has ended the run."""
        waited_s = 0.0
        while not self._ended.wait(self.pause_s):
            if self.verdict is not None:
                # Ranks that find the same mistake end by themselves, one after the other.
                waited_s += self.pause_s
                grace_s = SHORT_GRACE_S if PULSE.is_waiting else GRACE_S
                if waited_s >= min(grace_s, self.timeout_s) or self.verdict[0] == START_AGAIN:
                    self._end()
            elif line := self.judge.find_missing():
                self._condemn(line + self._advice())

    def _condemn(self, line: str) -> None:
        """End the run with a line that only one rank prints."""
        proposal = Thread(target=self._propose, args=(START_AGAIN, line), daemon=True)
        proposal.start()
        proposal.join(max(1.0, self.timeout_s / 4))  # nobody may answer
        if self.verdict is None:
            self.verdict = START_AGAIN, line
        self._end(line)

    def _end(self, line: str = "") -> None:
        """End the process; print the verdict if it is this rank's."""
        assert self.verdict is not None
        code, verdict = self.verdict
        if code != START_AGAIN:  # somebody waits for this one, and the store answers
            with suppress(RuntimeError):
                self.store.set(f"left/{self.rank}", "")
        end_now(code, verdict if verdict == line else "")

    def _propose(self, code: int, line: str) -> None:
        """Write the verdict unless there is one; read it."""
        with suppress(RuntimeError):  # no answer
            self.store.compare_set(VERDICT, "", json.dumps([code, line]))
            self.verdict = self._read_verdict()

    def _read_verdict(self) -> tuple[int, str] | None:
        try:
            if not self.store.check([VERDICT]):
                return None
            code, line = json.loads(self.store.get(VERDICT))
        except RuntimeError:  # no answer
            return None
        return code, line

    def _advice(self) -> str:
        newest = PULSE.checkpoint or self._checkpoint
        return f"; the same command resumes from {newest}" if newest else "; start it again"
