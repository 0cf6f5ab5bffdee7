"""How far this process has come, as the other ranks of its run see it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Pulse:
    """The progress of a process, which a rank is judged by.

    Attributes:
        beats: Signs of progress so far.
        step: Steps that the run has attempted.
        is_waiting: Whether the process waits for other ranks, and is not to blame for the delay.
        is_patient: Whether a long time without a sign of progress is normal: before the first step,
            and where a network is compiled.
        checkpoint: The newest checkpoint; empty if there is none, or if this rank writes none.
    """

    beats: int = 0
    step: int = 0
    is_waiting: bool = False
    is_patient: bool = True
    checkpoint: str = ""

    def beat(self) -> None:
        """Give a sign of progress."""
        self.beats += 1

    def restart(self) -> None:
        """Forget everything: a run begins."""
        vars(self).update(vars(Pulse()))

    def reach(self, step: int) -> None:
        """Take note of a step that is complete."""
        self.step, self.is_patient = step, False
        self.beat()

    @contextmanager
    def waiting(self, *, patient: bool = False) -> Iterator[None]:
        """Mark what may wait for other ranks; `patient` says that it may take long."""
        before = self.is_waiting, self.is_patient
        self.is_waiting, self.is_patient = True, self.is_patient or patient
        try:
            yield
        finally:
            self.is_waiting, self.is_patient = before
            self.beat()


PULSE = Pulse()
"""The pulse of this process."""
