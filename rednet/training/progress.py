"""Progress of long work: a bar on a terminal, plain lines elsewhere."""

import sys
import time

from tqdm import tqdm

from rednet.program import say
from rednet.screen import SCREEN
from rednet.training.throughput import Throughput
from rednet.training.workload import Workload
from rednet.wording import format_rate

STALLED_S = 5.0
MIN_BAR = 8
"""Smallest width of a bar in columns."""


class Progress:
    """Shows how many images are done, at what rate, and how long the rest will take.

    Args:
        total: Images of the whole run or pass, None if unknown.
        done: Images already done at the start.
        label: Text in front, such as the epoch.
        every: Print a line after this many calls of `advance` where stdout is no terminal; None for
            never.
        enabled: Whether this process shows anything.
        workload: See the attribute.

    Attributes:
        throughput: Throughput of the last steps.
        workload: What else the run consists of; None if it is the images alone.
    """

    def __init__(
        self,
        total: int | None,
        done: int = 0,
        label: str = "",
        every: int | None = 50,
        enabled: bool = True,
        workload: Workload | None = None,
    ) -> None:
        self.total, self.done, self.label, self.every = total, done, label, every
        self.enabled = enabled
        self.throughput, self.workload = Throughput(), workload
        self._text = ""
        self._waited = 0.0
        self._start = self._last_time = time.monotonic()
        if enabled:
            SCREEN.announce(None)
        self._is_drawn = enabled and SCREEN.show(self)

    def pause(self) -> float:
        """Leave out the time since the last step or pause, and return it in seconds."""
        now = time.monotonic()
        seconds, self._last_time, self._waited = now - self._last_time, now, 0.0
        return seconds

    def wait(self, seconds: float) -> None:
        """Count seconds in which the next images were waited for."""
        self._waited += seconds

    def advance(self, images: int, text: str = "") -> None:
        """Count `images` more as done, and show `text` with them."""
        now = time.monotonic()
        self.throughput.add(images, now - self._last_time, self._waited)
        self._last_time, self._waited = now, 0.0
        self.done += images
        self._text = text
        is_due = self.every is not None and self.throughput.steps % self.every == 0
        if self.enabled and is_due and not (self._is_drawn and sys.stdout.isatty()):
            say("  ".join(filter(None, (self.label, text, self._rate(), self._left()))))

    def say(self, line: str) -> None:
        """Print a line, if this process shows anything."""
        if self.enabled:
            say(line)

    def close(self) -> None:
        """Remove the bar."""
        SCREEN.remove(self)

    @property
    def seconds_left(self) -> float:
        """Seconds that the rest will take; infinite before the first step."""
        rate, total = self.throughput.images_per_second, self.total or 0
        if not rate:
            return float("inf")
        if self.workload is not None:
            return self.workload.seconds_left(self.done, total, self.throughput)
        return max(0, total - self.done) / rate

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def describe(self, width: int) -> str:
        """Return the bar, with as many numbers as fit, the most important ones first."""
        head = self.label
        if self.total:
            head += f" {100 * self.done // self.total:3d} %"
        parts = [self._stalled(), self._left(), self._rate(short=True), self._text]
        shown: list[str] = []
        for part in filter(None, parts):
            if len("  ".join([head, *shown, part])) <= width:
                shown.append(part)
        bar = width - len("  ".join([head, *shown])) - 2
        if self.total and bar >= MIN_BAR:
            head += "  " + _bar(self.done / self.total, bar)
        return "  ".join([head, *shown])

    def _rate(self, *, short: bool = False) -> str:
        if not self.throughput.steps:
            return f"starting ... {self.seconds:.0f} s"
        rate = f"{format_rate(self.throughput.images_per_second)} images/s"
        if self.total is None:
            rate = f"{self.done} images  {rate}"
        waiting = self.throughput.waiting
        if waiting < 0.5:
            return rate
        return (
            f"{rate}  data {waiting:.0f} %"
            if short
            else f"{rate}, {waiting:.0f} % waiting for data"
        )

    def _left(self) -> str:
        seconds = self.seconds_left
        is_known = self.total is not None and seconds < float("inf")
        return f"{tqdm.format_interval(seconds)} left" if is_known else ""

    def _stalled(self) -> str:
        seconds = time.monotonic() - self._last_time
        is_stalled = self.throughput.steps > 0 and seconds >= STALLED_S
        return f"no step for {seconds:.0f} s" if is_stalled else ""


def _bar(share: float, width: int) -> str:
    # Characters beyond ASCII would become escapes where the terminal's encoding lacks them.
    filled = round(min(1.0, share) * (width - 2))
    return f"[{'#' * filled}{'.' * (width - 2 - filled)}]"
