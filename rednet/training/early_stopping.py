"""End a run whose accuracy no longer rises."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rednet.wording import count


@dataclass(frozen=True)
class EarlyStopping:
    """Ends a run after so many epochs without a better top-1.

    The run's log decides, so that a run that is continued ends where it would have ended.

    Attributes:
        patience: Number of these epochs; None for no end before the schedule's.
        not_before: Epochs at the start that do not count, since only the classifier trains.
        epochs: Length of the schedule, at which the run ends in any case.
    """

    patience: int | None = None
    not_before: int = 0
    epochs: int | None = None

    def reason(self, rows: Sequence[Mapping[str, Any]]) -> str | None:
        """Return why the run ends now, None if it goes on.

        Args:
            rows: Metrics of the completed epochs, in order, as in metrics.jsonl.
        """
        scored = [(row["val_top1"], -row["epoch"]) for row in rows if row["val_top1"] is not None]
        if self.patience is None or not scored:
            return None
        best, epoch = max(scored)  # the earliest of equals
        waited = rows[-1]["epoch"] - max(-epoch, self.not_before)
        is_due = waited >= self.patience and rows[-1]["val_top1"] is not None
        if not is_due or rows[-1]["epoch"] == self.epochs:
            return None
        return (
            f"stopped early after epoch {rows[-1]['epoch']}: no better top-1 than {best:.2f} % "
            f"of epoch {-epoch} in {count(waited, 'epoch')}"
        )
