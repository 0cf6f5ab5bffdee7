"""The predictions for each image as a CSV file, written while they are made."""

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path

from torch import Tensor

from rednet.data import Batch, EvalSampler, ImageSource
from rednet.evaluation import TOP
from rednet.files import open_atomically, quote_formula
from rednet.runtime import Runtime
from rednet.wording import printable

Row = tuple[int, list[int], list[float]]
"""Index of an image in its source, its most probable classes, and their probabilities."""


class PredictionWriter:
    """Collects the predictions of all processes batch by batch, and writes them in order.

    The processes' batches of the same number follow each other in the source.

    Args:
        write: Function that writes rows; it is called in the primary process only.
        rounds: Number of batches of the process that has most.
        runtime: The processes.
    """

    def __init__(self, write: Callable[[list[Row]], None], rounds: int, runtime: Runtime) -> None:
        self.write, self.rounds, self.runtime = write, rounds, runtime

    def add(self, batch: Batch, logits: Tensor) -> None:
        """Take a batch of this process and its logits (n, num_classes)."""
        self._exchange(_rows(batch, logits))

    def finish(self) -> None:
        """Take part in the exchanges of processes that have one batch more."""
        while self.rounds:
            self._exchange([])

    def _exchange(self, rows: list[Row]) -> None:
        self.rounds -= 1
        gathered = self.runtime.gather(rows)
        if self.runtime.is_primary:
            self.write(sorted(row for part in gathered for row in part))


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
    with _row_writer(path, source, runtime) as write:
        yield PredictionWriter(write, rounds, runtime)


def _rows(batch: Batch, logits: Tensor) -> list[Row]:
    top = logits.topk(min(TOP, logits.shape[1]), dim=1).indices
    probabilities = logits.float().softmax(1).gather(1, top)
    values = batch.indices.tolist(), top.tolist(), probabilities.tolist()
    return list(zip(*values, strict=True))


@contextmanager
def _row_writer(
    path: Path, source: ImageSource, runtime: Runtime
) -> Iterator[Callable[[list[Row]], None]]:
    """Yield the function that writes rows, which does nothing on all but the primary process."""
    if not runtime.is_primary:
        yield lambda rows: None
        return
    names = [_cell(name) for name in source.class_names]
    with open_atomically(path) as file:
        text = TextIOWrapper(file, encoding="utf-8", newline="")
        writer = csv.writer(text)
        writer.writerow(_header(len(names)))

        def write(rows: list[Row]) -> None:
            for index, classes, probabilities in rows:
                pairs = zip(classes, probabilities, strict=True)
                predictions = [
                    cell for number, value in pairs for cell in (names[number], f"{value:.6g}")
                ]
                target = names[source.targets[index]]
                writer.writerow([_cell(source.name_of(index)), target, *predictions])

        try:
            yield write
        finally:
            text.detach()  # flushes, and leaves it to the outer context to close the file


def _cell(name: str) -> str:
    return str(quote_formula(printable(name)))


def _header(num_classes: int) -> list[str]:
    ranks = range(1, min(TOP, num_classes) + 1)
    return ["path", "target", *(f"{what}_{n}" for n in ranks for what in ("class", "probability"))]
