"""The images of a run's log: the first ones it trains on, and the worst mistakes."""

from collections.abc import Sequence
from pathlib import Path

from rednet.best_effort import BestEffort
from rednet.evaluation import Evaluation
from rednet.loggers.group import LoggerGroup
from rednet.training.batches import MicroBatch
from rednet.training.display import Display
from rednet.training.metrics import EpochMetrics
from rednet.training.mistake_files import FOLDER, keep_mistakes, write_mistakes
from rednet.training.mistakes import WorstMistakes


class RunImages:
    """Shows images in the loggers, and writes those of mistakes to the run's folder.

    Args:
        folder: Folder of the run.
        display: Makes images of tensors.
        mistakes: Observes the evaluations.
        loggers: Where the images are shown.
        enabled: Whether this process shows and writes anything.

    Attributes:
        shows_next_step: Whether the images of the next step are shown.
    """

    def __init__(
        self,
        folder: Path,
        display: Display,
        mistakes: WorstMistakes,
        loggers: LoggerGroup,
        enabled: bool = True,
    ) -> None:
        self.folder, self.display, self.mistakes = folder, display, mistakes
        self.loggers, self.enabled = loggers, enabled
        self.shows_next_step = False
        self._grid_effort = BestEffort("training goes on without it")
        self._mistakes_effort = BestEffort("training goes on, and each evaluation tries again")

    def step(self, batches: Sequence[MicroBatch], global_step: int) -> None:
        """Show the images of a step, if it is the first of the run."""
        if not (self.enabled and self.shows_next_step):
            return
        self.shows_next_step = False
        with self._grid_effort.write("the images of the first step"):
            grid = self.display.train_grid(batches)
            if grid is not None:
                self.loggers.image("train/images", grid, global_step)

    def write_mistakes(
        self, metrics: EpochMetrics, evaluation: Evaluation, best_epoch: int | None
    ) -> None:
        """Write the mistakes of an evaluation; delete all but those of the best epoch."""
        if not self.enabled:
            return
        with self._mistakes_effort.write(str(self.folder / FOLDER)):
            names, worst = self.display.class_names, self.mistakes.worst
            epoch, step = metrics.epoch, metrics.global_step
            write_mistakes(self.folder, epoch, step, worst, evaluation.confusion, names)
            keep_mistakes(self.folder, epoch, best_epoch)

    def show_mistakes(self, metrics: EpochMetrics) -> None:
        """Show the mistakes of an evaluation."""
        if not (self.enabled and self.mistakes.worst):
            return
        with self._grid_effort.write("the images of the worst mistakes"):
            grid = self.display.mistakes_grid(self.mistakes.worst, metrics.epoch)
            self.loggers.image("val/mistakes", grid, metrics.global_step)
