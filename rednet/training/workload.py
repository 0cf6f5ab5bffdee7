"""How long the rest of a run will take, from the throughput of its last steps."""

from dataclasses import dataclass
from math import ceil

from rednet.training.throughput import Throughput

WHOLE_STEP = 3.0
"""About how much longer a training step takes than a forward pass, where all layers train."""


@dataclass
class Workload:
    """The work of a run: training, whose later epochs may take longer, evaluations and saves.

    Costs are about how long an image takes, in forward passes. What has been measured replaces
    them.

    Attributes:
        images_per_epoch: Training images of an epoch.
        val_images: Images of an evaluation.
        eval_every: Epochs between two evaluations; one more follows the last step.
        cost: Cost of a training image.
        first_cost: Its cost in the first epochs, in which fewer layers train.
        first_epochs: Number of these epochs.
        completed: Number of completed epochs.
        evaluation_seconds: Duration of the last evaluation, None before it.
        save_seconds: Duration of the last save and of what else lay between two epochs.
    """

    images_per_epoch: int = 1
    val_images: int = 0
    eval_every: int = 1
    cost: float = WHOLE_STEP
    first_cost: float = WHOLE_STEP
    first_epochs: int = 0
    completed: int = 0
    evaluation_seconds: float | None = None
    save_seconds: float = 0.0

    @property
    def is_first_phase(self) -> bool:
        """Whether this is one of the first epochs."""
        return self.completed < self.first_epochs

    def later_images(self, total: int) -> int:
        """Return how many of a run's images follow the first epochs, 0 once these are over."""
        first = self.first_epochs * self.images_per_epoch
        return max(0, total - first) if self.is_first_phase else 0

    def later_rate(self, throughput: Throughput) -> float:
        """Return about how many images per second are trained after the first epochs."""
        return 1 / self._seconds_per_image(self.cost, throughput)

    def seconds_left(self, done: int, total: int, throughput: Throughput) -> float:
        """Return about how long the rest of the run takes.

        Args:
            done: Images trained.
            total: Images of the whole run.
            throughput: Throughput of the last steps, of which there is one.
        """
        later = self.later_images(total)
        now = max(0, total - done - later)
        training = now / throughput.images_per_second
        training += later * self._seconds_per_image(self.cost, throughput)
        evaluations = ceil(total / (self.images_per_epoch * self.eval_every))
        evaluations -= self.completed // self.eval_every
        seconds = self.evaluation_seconds
        if seconds is None:
            seconds = self.val_images * self._seconds_per_image(1.0, throughput)
        saves = (total - done) / self.images_per_epoch * self.save_seconds
        return training + max(0, evaluations) * seconds + max(0.0, saves)

    def _seconds_per_image(self, cost: float, throughput: Throughput) -> float:
        """Return the duration of an image with another cost; its data take as long as they did."""
        waiting = throughput.waiting / 100
        factor = cost / (self.first_cost if self.is_first_phase else self.cost)
        return (waiting + (1 - waiting) * factor) / throughput.images_per_second
