"""Predict a stream of images, in one process or several."""

from collections.abc import Iterable, Iterator

from rednet.data.image_stream import StreamedBatch
from rednet.inference import Predictor
from rednet.predictions.rows import NOT_FINITE, Row, top_classes
from rednet.runtime import Runtime
from rednet.signals import StopSignals, held


def predict_batches(
    predictor: Predictor, batches: Iterable[StreamedBatch], top_k: int, *, features: bool
) -> Iterator[list[Row]]:
    """Yield the rows of each batch, those of images that cannot be decoded included.

    Args:
        predictor: The network.
        batches: Batches of this process.
        top_k: Number of classes in a row.
        features: Whether the rows have features.
    """
    with held():  # a worker that has just started must not die of a signal
        iterator = iter(batches)
    for batch in iterator:
        decoded = iter(_predict(predictor, batch, top_k, features=features))
        yield [
            Row(item.position, item.path, reason=item.reason) if item.reason else next(decoded)
            for item in batch.items
        ]


def _predict(
    predictor: Predictor, batch: StreamedBatch, top_k: int, *, features: bool
) -> Iterator[Row]:
    """Yield the rows of the images that could be decoded."""
    if not len(batch.images):
        return
    if features:
        logits, found = predictor.logits_and_features(batch.images)
    else:
        logits, found = predictor.logits(batch.images), None
    is_finite = logits.softmax(1).isfinite().all(1).tolist()
    tops = zip(*top_classes(logits, top_k), strict=True)
    items = (item for item in batch.items if not item.reason)
    for index, (item, top) in enumerate(zip(items, tops, strict=True)):
        if not is_finite[index]:
            yield Row(item.position, item.path, reason=NOT_FINITE)
            continue
        classes, probabilities = top if predictor.class_names else ((), ())
        values = None if found is None else found[index].numpy()
        yield Row(item.position, item.path, classes, probabilities, features=values)


def gather_rows(
    rows: Iterator[list[Row]], runtime: Runtime, signals: StopSignals
) -> Iterator[list[Row]]:
    """Yield the rows of all processes in the order of the stream, until a signal comes.

    Args:
        rows: Rows of each batch of this process; other processes may have one batch less.
        runtime: The processes.
        signals: Signals that ask for an end.
    """
    while True:
        parts = runtime.gather((next(rows, None), signals.received))
        found = [row for part, _ in parts for row in part or ()]
        if not found:
            return
        yield sorted(found, key=lambda row: row.position)
        if any(signal for _, signal in parts):
            return
