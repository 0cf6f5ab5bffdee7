"""All loggers of a run as one, none of which can end it."""

from collections import defaultdict
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from PIL import Image

from rednet.best_effort import BestEffort
from rednet.loggers.interface import Logger, MakeLogger, Setting

BEST_TOP1 = "best/top1"
"""Tag of the highest top-1 so far, by which runs are compared."""


class LoggerGroup:
    """Passes what a run reports to each logger. An error of one is a warning, and is tried again.

    Args:
        makers: Makes each logger, by its name.
        config: Text of the configuration, which each start of the run reports.
        settings: Settings by which runs are compared.
    """

    def __init__(
        self,
        makers: Mapping[str, MakeLogger] | None = None,
        config: str = "",
        settings: Mapping[str, Setting] | None = None,
    ) -> None:
        self.makers, self.config, self.settings = makers or {}, config, settings or {}
        self._loggers: dict[str, Logger] = {}
        self._writing = _efforts("training goes on, and each save tries again")
        self._taking = _efforts("training goes on without it")

    def open(self, first_step: int) -> None:
        """Make the loggers; what an earlier start wrote of this and of later steps is replaced."""
        self.close()
        for name, make in self.makers.items():
            with self._taking[name, "open"].write(f"by the logger {name}"):
                self._loggers[name] = make(first_step)
        if self.config:
            self.text("config", self.config, first_step)
        if self.settings:
            self._take("hparams", self.settings, BEST_TOP1, first_step)
        self.flush()

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Report the value of each tag at a step."""
        self._take("scalars", values, step)

    def image(self, tag: str, image: Image.Image, step: int) -> None:
        """Report an image."""
        self._take("image", tag, image, step)

    def text(self, tag: str, text: str, step: int) -> None:
        """Report a text."""
        self._take("text", tag, text, step)

    def flush(self) -> None:
        """Write all that was reported, before the steps that it belongs to are saved."""
        for name, logger in self._loggers.items():
            with self._write(name, logger):
                logger.flush()

    def close(self) -> None:
        """Flush and close the loggers."""
        while self._loggers:
            name, logger = self._loggers.popitem()
            with self._write(name, logger):
                logger.close()

    def _take(self, kind: str, *arguments: Any) -> None:
        for name, logger in self._loggers.items():
            with self._taking[name, kind].write(f"to {logger.place}"):
                getattr(logger, kind)(*arguments)

    def _write(self, name: str, logger: Logger) -> AbstractContextManager[None]:
        return self._writing[name].write(logger.place)


def _efforts(consequence: str) -> defaultdict[Any, BestEffort]:
    """Return an effort for each key; each tells of its first failure only."""
    return defaultdict(lambda: BestEffort(consequence))
