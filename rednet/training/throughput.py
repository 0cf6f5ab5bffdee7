"""The speed of the last steps."""

DECAY = 0.98
"""Weight of a step for the throughput relative to the next one, so that the last 50 count."""


class Throughput:
    """Images per second in the last steps, and the share of their time that waited for data.

    Attributes:
        steps: Number of steps so far.
        seconds: Duration of all of them.
    """

    def __init__(self) -> None:
        self.steps, self.seconds = 0, 0.0
        self._images = self._seconds = self._waited = 0.0

    def add(self, images: int, seconds: float, waited: float) -> None:
        """Count a step. The first one, which compiles and allocates, counts until the second."""
        decay = 0.0 if self.steps <= 1 else DECAY
        self._images = decay * self._images + images
        self._seconds = decay * self._seconds + seconds
        self._waited = decay * self._waited + waited
        self.steps += 1
        self.seconds += seconds

    @property
    def images_per_second(self) -> float:
        """Images per second; 0 before the first step."""
        return self._images / self._seconds if self._seconds else 0.0

    @property
    def waiting(self) -> float:
        """Share of the time that waited for data, in percent."""
        return min(100.0, 100 * self._waited / self._seconds) if self._seconds else 0.0
