"""What came of each run of a sweep or a search."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rednet.search.metric import Metric, is_maximized
from rednet.training.metrics import read_metrics


@dataclass(frozen=True)
class Outcome:
    """What came of a run.

    Attributes:
        settings: Settings that differ between the runs, as text.
        folder: Folder of the run.
        state: "complete", "pruned", "failed", "stopped" or "running".
        value: Best value of the metric; None without an evaluated epoch.
        epochs: Number of its last epoch, 0 without any.
        seconds: Duration of its epochs.
        reason: Why it failed, in one line.
    """

    settings: Mapping[str, str]
    folder: Path
    state: str
    value: float | None
    epochs: int
    seconds: float
    reason: str = ""


def read_outcome(
    settings: Mapping[str, str], folder: Path, metric: Metric, state: str, reason: str = ""
) -> Outcome:
    """Return what came of a run, from its metrics.jsonl."""
    rows = read_metrics(folder)
    value = best_value((row[metric] for row in rows), metric)
    seconds = sum(row["seconds"] or 0.0 for row in rows)
    epochs = rows[-1]["epoch"] if rows else 0
    return Outcome(settings, folder, state, value, epochs, seconds, reason)


def best_value(values: Iterable[float | None], metric: Metric) -> float | None:
    """Return the best of the values that are not None; None without any."""
    known = [value for value in values if value is not None]
    best = max if is_maximized(metric) else min
    return best(known) if known else None


def best_first(outcomes: Sequence[Outcome], metric: Metric) -> list[Outcome]:
    """Return the outcomes by their value, best first; failed runs and those without one last."""

    def rank(outcome: Outcome) -> tuple[bool, bool, float]:
        value = outcome.value or 0.0
        order = -value if is_maximized(metric) else value
        return outcome.state == "failed", outcome.value is None, order

    return sorted(outcomes, key=rank)
