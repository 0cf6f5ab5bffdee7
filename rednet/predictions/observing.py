"""The predictions of an evaluation, by one process or several, as a CSV file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor

from rednet.data import Batch, EvalSampler, ImageSource
from rednet.evaluation import TOP
from rednet.predictions.files import Write, write_csv
from rednet.predictions.rows import ClassLabels, Row, top_classes
from rednet.runtime import Runtime


class PredictionWriter:
    """Collects the predictions of all processes batch by batch, and writes them in order.

    The processes' batches of the same number follow each other in the source.

    Args:
        write: Function that writes rows; it is called in the primary process only.
        source: The images.
        rounds: Number of batches of the process that has most.
        runtime: The processes.
    """

    def __init__(self, write: Write, source: ImageSource, rounds: int, runtime: Runtime) -> None:
        self.write, self.source, self.rounds, self.runtime = write, source, rounds, runtime

    def add(self, batch: Batch, logits: Tensor) -> None:
        """Take a batch of this process and its logits (n, num_classes)."""
        self._exchange(self._rows(batch, logits))

    def finish(self) -> None:
        """Take part in the exchanges of processes that have one batch more."""
        while self.rounds:
            self._exchange([])

    def _rows(self, batch: Batch, logits: Tensor) -> list[Row]:
        samples = batch.indices.tolist(), batch.targets.tolist(), *top_classes(logits, TOP)
        return [
            Row(index, self.source.name_of(index), classes, probabilities, target)
            for index, target, classes, probabilities in zip(*samples, strict=True)
        ]

    def _exchange(self, rows: list[Row]) -> None:
        self.rounds -= 1
        gathered = [row for part in self.runtime.gather(rows) for row in part]
        if self.runtime.is_primary:
            self.write(sorted(gathered, key=lambda row: row.position))


@contextmanager
def write_predictions(
    path: Path, source: ImageSource, batch_size: int, runtime: Runtime
) -> Iterator[PredictionWriter]:
    """Write a row for each image that can be read: path, target, and the top five classes.

    The rows have the order of the source, whatever the number of processes.

    Args:
        path: CSV file to write; it appears when the context ends without an exception.
        source: The images, of which each process evaluates its share.
        batch_size: Images in a batch of each process.
        runtime: The processes.

    Yields:
        The observer of the evaluation.
    """
    rounds = len(EvalSampler(len(source), batch_size, 0, runtime.world_size))
    if not runtime.is_primary:
        yield PredictionWriter(lambda rows: None, source, rounds, runtime)
        return
    with write_csv(path, ClassLabels(source.class_names), TOP, targets=True) as write:
        yield PredictionWriter(write, source, rounds, runtime)
