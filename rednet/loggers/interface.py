"""The interface of a logger."""

from collections.abc import Callable, Mapping
from typing import Protocol

from PIL import Image

Setting = bool | int | float | str
MAX_PENDING = 100_000
"""Number of entries that a logger keeps in memory while they cannot be written."""


class Logger(Protocol):
    """Takes what a run reports, and writes it to one place.

    Steps never decrease. All but `flush` and `close` keep what cannot be written at once, and do
    not raise for it.
    """

    @property
    def place(self) -> str:
        """Where it writes, for messages."""

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Take the value of each tag at a step."""

    def image(self, tag: str, image: Image.Image, step: int) -> None:
        """Take an RGB image."""

    def text(self, tag: str, text: str, step: int) -> None:
        """Take plain text of any number of lines."""

    def hparams(self, settings: Mapping[str, Setting], metric: str, step: int) -> None:
        """Take the settings by which runs are compared.

        Args:
            settings: The settings, by dotted key.
            metric: Tag of the scalar that says how good the run is.
            step: Step from which on the settings hold.
        """

    def flush(self) -> None:
        """Write all that was taken.

        Raises:
            Exception: It cannot be written; it is kept for the next call.
        """

    def close(self) -> None:
        """Flush, and release all files and processes.

        Raises:
            Exception: What was taken since the last flush cannot be written.
        """


MakeLogger = Callable[[int], Logger]
"""Makes a logger from the first step that it will be given. What an interrupted start of the run
wrote of this and of later steps is replaced. No file is touched before the first flush."""
