"""Progress of long work: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from contextlib import nullcontext
from typing import Any

from tqdm import tqdm

from rednet.program import say


class Progress:
    """Shows how many images are done, at what rate, and how long the rest will take.

    Args:
        total: Images of the whole run or pass, None if unknown.
        done: Images already done at the start.
        label: Text in front, such as the epoch.
        every: Without a terminal, print a line after this many calls of `advance`.
        enabled: Whether this process prints anything.
    """

    def __init__(
        self,
        total: int | None,
        done: int = 0,
        label: str = "",
        every: int = 50,
        enabled: bool = True,
    ) -> None:
        self.total, self.done, self.label, self.every = total, done, label, every
        self.enabled = enabled
        self.calls, self.start_done, self.start = 0, done, time.monotonic()
        self.bar: Any = None
        if enabled and sys.stderr.isatty():
            self.bar = tqdm(total=total, initial=done, unit=" images", desc=label, leave=False)

    def advance(self, images: int, text: str = "") -> None:
        """Count `images` more as done, and show `text` with them."""
        self.done += images
        self.calls += 1
        if self.bar is not None:
            self.bar.set_postfix_str(text, refresh=False)
            self.bar.update(images)
        elif self.enabled and self.calls % self.every == 0:
            self.say(f"{self.label}  {text}  {self._rate()}")

    def say(self, line: str) -> None:
        """Print a line without disturbing the bar."""
        if not self.enabled:
            return
        with nullcontext() if self.bar is None else tqdm.external_write_mode(file=sys.stdout):
            say(line)

    def close(self) -> None:
        """Remove the bar."""
        if self.bar is not None:
            self.bar.close()

    def _rate(self) -> str:
        rate = (self.done - self.start_done) / max(1e-9, time.monotonic() - self.start)
        if self.total is None:
            return f"{self.done} images  {rate:.0f} images/s"
        left = (self.total - self.done) / max(1e-9, rate)
        return f"{rate:.0f} images/s  {tqdm.format_interval(left)} left"
