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

Observer = Callable[[Batch, Tensor], None]
Row = tuple[int, list[int], list[float]]
"""Index of an image in its source, its most probable classes, and their probabilities."""


@contextmanager
def write_predictions(
    path: Path, source: ImageSource, batch_size: int, runtime: Runtime
) -> Iterator[Observer]:
    """Write a row for each image that can be read: path, target, and the top five classes.

    The rows have the order of the source, whatever the number of processes: their batches of the
    same number follow each other there, so the primary process writes them batch by batch.

    Args:
        path: CSV file to write; it appears when the context ends without an exception.
        source: The images, of which each process evaluates its share.
        batch_size: Images in a batch of each process.
        runtime: The processes.

    Yields:
        The function to pass to `evaluate` as `observe`.
    """
    with _row_writer(path, source, runtime) as write:
        rounds = len(EvalSampler(len(source), batch_size, 0, runtime.world_size))
        done = 0

        def exchange(rows: list[Row]) -> None:
            nonlocal done
            done += 1
            write(sorted(row for part in runtime.gather(rows) for row in part))

        yield lambda batch, logits: exchange(_rows(batch, logits))
        while done < rounds:  # other processes may have one batch more
            exchange([])


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
