"""Predict a stream of images, in one process or several."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from itertools import islice

from rednet.data import Batch, ImageLoader
from rednet.inference import Predictor
from rednet.predictions.rows import NOT_FINITE, Row, top_classes
from rednet.runtime import Runtime
from rednet.signals import StopSignals


class PredictionStream:
    """The predictions of this process for its share of a stream of images.

    Args:
        predictor: The network.
        load: Function that returns the loader of this process's share of some images, in order.
        chunk_size: Images that are loaded by one loader; only their paths are in memory. In all
            but the last chunk each process must have the same number of batches.
        top_k: Number of classes in a row.
        features: Whether the rows have features.

    Attributes:
        failure: Why images could no longer be loaded; empty if they could.
    """

    def __init__(
        self,
        predictor: Predictor,
        load: Callable[[Sequence[str]], ImageLoader],
        chunk_size: int,
        top_k: int,
        *,
        features: bool,
    ) -> None:
        self.predictor, self.load, self.chunk_size = predictor, load, chunk_size
        self.top_k, self.features = top_k, features
        self.failure = ""

    def rows(self, paths: Iterable[str]) -> Generator[list[Row]]:
        """Yield the rows of each batch, those of images that cannot be decoded included."""
        remaining, start = iter(paths), 0
        while chunk := list(islice(remaining, self.chunk_size)):
            with self.load(chunk) as loader:
                for batch in loader:
                    if batch.failure:
                        self.failure = batch.failure
                        return
                    yield sorted(self._rows(batch, chunk, start), key=lambda row: row.position)
            start += len(chunk)

    def _rows(self, batch: Batch, chunk: Sequence[str], start: int) -> Iterator[Row]:
        """Yield the rows of a batch: first those of images that cannot be decoded."""
        for index, (_, reason) in zip(batch.unreadable_indices, batch.unreadable, strict=True):
            yield Row(start + index, chunk[index], reason=reason)
        if not len(batch.targets):
            return
        if self.features:
            logits, features = self.predictor.logits_and_features(batch.images, batch.normalization)
            values = list(features.numpy())
        else:
            logits = self.predictor.logits(batch.images, batch.normalization)
            values = [None] * len(batch.targets)
        is_finite = logits.softmax(1).isfinite().all(1).tolist()
        tops = zip(*top_classes(logits, self.top_k), strict=True)
        indices = batch.indices.tolist()
        for index, finite, top, value in zip(indices, is_finite, tops, values, strict=True):
            if not finite:
                yield Row(start + index, chunk[index], reason=NOT_FINITE)
                continue
            classes, probabilities = top if self.predictor.class_names else ((), ())
            yield Row(start + index, chunk[index], classes, probabilities, features=value)


def gather_rows(
    stream: PredictionStream, paths: Iterable[str], runtime: Runtime, signals: StopSignals
) -> Iterator[list[Row]]:
    """Yield the rows of all processes in the order of the stream, until a signal or a failure.

    Args:
        stream: Predictions of this process, whose `failure` becomes that of any process.
        paths: Paths of all images, the same in each process.
        runtime: The processes.
        signals: Signals that ask for an end.
    """
    rows = stream.rows(paths)
    while True:
        parts = runtime.gather((next(rows, None), signals.received, stream.failure))
        found = [row for part, _, _ in parts for row in part or ()]
        if found:
            yield sorted(found, key=lambda row: row.position)
        stream.failure = next((failure for _, _, failure in parts if failure), "")
        if not found or stream.failure or any(signal for _, signal, _ in parts):
            rows.close()
            return
