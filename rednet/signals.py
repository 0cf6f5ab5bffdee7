"""Signals that ask a run to stop: finish the step, save, and end."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sized
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

from rednet.errors import Stopped
from rednet.ranks.pulse import PULSE
from rednet.screen import SCREEN
from rednet.wording import printable

# Importing torch takes seconds, in which signals are caught too.
if TYPE_CHECKING:
    from rednet.runtime import Runtime

STOP_SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1")
    if hasattr(signal, name)
)
"""What schedulers (Slurm, Kubernetes), terminals and users send before they kill a process."""
AGREE_EVERY = 8
"""Batches of an evaluation between two questions to the other ranks."""
ECHO_S = 1.0
"""Seconds in which a further signal belongs to the first. `timeout`, `torchrun` and terminals send
a signal to the process and again to its group, or pass on what the process got already."""


class StopSignals:
    """Catches the first signal that asks the process to stop; a second one ends it at once.

    Outside `deferred`, while there is nothing to save, the signal raises `Stopped` where the
    program happens to be. Inside, it only sets `received`, and the training loop stops when a step
    is complete.

    Attributes:
        received: Number of the signal, 0 if there was none.
    """

    def __init__(self) -> None:
        self.received = 0
        self._since = 0.0
        self._is_deferred = self._has_raised = False

    @contextmanager
    def caught(self) -> Iterator["StopSignals"]:
        """Catch the signals of this process. Those that it ignores, as under nohup, stay ignored.

        Only the main thread may call this.

        Raises:
            Stopped: There was a signal, even if it came too late to stop anything: a sweep must not
                go on with its next job.
        """
        found = {number: signal.getsignal(number) for number in STOP_SIGNALS}
        left_alone = (signal.SIG_IGN, None)  # None: a handler that is not Python's
        previous = {n: handler for n, handler in found.items() if handler not in left_alone}
        for number in previous:
            signal.signal(number, self._handle)
        try:
            yield self
            if self.received:
                raise Stopped(self.received, "nothing was left to do")
        except Exception as error:
            if self._has_raised:  # a library has turned it into an error of its own
                raise Stopped(self.received) from error
            raise
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Leave it to the caller to look at `received`."""
        self._is_deferred = True
        try:
            yield
        finally:
            self._is_deferred = False

    @property
    def seconds(self) -> float:
        """Seconds since the signal, 0 if this process got none."""
        return time.monotonic() - self._since if self.received else 0.0

    def stopped(
        self, number: int, global_step: int, folder: Path, failure: str | None = None
    ) -> Stopped:
        """Return the exception that ends a run once it is saved in its folder.

        Args:
            number: Number of the signal.
            global_step: Steps attempted.
            folder: Folder of the run.
            failure: Why it could not be saved, and what is saved instead, if so.
        """
        if failure is not None:
            return Stopped(number, failure)
        saved = f"step {global_step} was saved {self.seconds:.1f} s after the signal"
        resume = f"the same command with output_dir={printable(folder)} resumes"
        return Stopped(number, f"{saved}; {resume}")

    def agreed(self, runtime: "Runtime") -> int:
        """Return the number of a signal that any rank received, 0 if there was none."""
        if runtime.world_size == 1:
            return self.received
        import torch

        received = torch.tensor(self.received, device=runtime.device)
        return int(runtime.max(received))

    def until_stopped(
        self, batches: "_Batches", runtime: "Runtime", stop: Callable[[], None]
    ) -> Iterator[Any]:
        """Yield batches; call `stop` on every rank once any rank has received a signal.

        Args:
            batches: Batches of this rank; another rank may have one more or less.
            runtime: Processes of the run.
            stop: What to do; it does not return.
        """
        shared = min(runtime.gather(len(batches)))
        every = 1 if runtime.world_size == 1 else AGREE_EVERY
        with held():
            iterator = iter(batches)
        for index, batch in enumerate(iterator):
            if index % every == 0 and index < shared and self.agreed(runtime):
                stop()
            PULSE.beat()
            yield batch

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self.received:
            self.received, self._since = number, time.monotonic()
            if not self._is_deferred:
                self._has_raised = True
                raise Stopped(number)
        elif self.seconds > ECHO_S:
            signal.signal(number, signal.SIG_DFL)
            SCREEN.erase()
            os.kill(os.getpid(), number)


class _Batches(Sized, Protocol):
    def __iter__(self) -> Iterator[Any]: ...


@contextmanager
def held() -> Iterator[None]:
    """Hold signals back, also from processes that are started meanwhile, which inherit this."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def obey_parent_only() -> None:
    """Make this process ignore the signals unless its parent sends them.

    Schedulers and terminals send a signal to all processes of a job. A data loading worker that
    died of it would take the step with it that its parent is about to finish. The parent itself
    ends its workers by SIGTERM.
    """
    if hasattr(signal, "sigwaitinfo"):  # not on macOS
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    while signal.sigwaitinfo(STOP_SIGNALS).si_pid != os.getppid():
        pass
    os._exit(0)
