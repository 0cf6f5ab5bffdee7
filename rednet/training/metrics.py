"""metrics.jsonl: a line for each epoch of a run."""

import json
import math
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rednet.best_effort import reason_of
from rednet.files import write_atomically
from rednet.program import say
from rednet.wording import format_rate, join_names, printable

METRICS = "metrics.jsonl"
RENAMED: dict[str, str] = {"update": "global_step"}
"""Names in the logs of rednet-1 runs."""

Row = dict[str, Any]


@dataclass(frozen=True)
class EpochMetrics:
    """One line of metrics.jsonl.

    Attributes:
        epoch: Number of the epoch, from 1.
        global_step: Steps attempted since the start of the run.
        lr: Learning rate of the last step.
        train_loss: Mean training loss of the samples, None if every step was skipped.
        val_loss: Mean validation loss, None if the epoch was not evaluated.
        val_top1: Validation top-1 accuracy in percent, or None.
        val_top5: Validation top-5 accuracy in percent, or None; None with five classes or fewer.
        images_per_second: Training throughput over all ranks.
        seconds: Duration of the epoch, evaluation included.
    """

    epoch: int
    global_step: int
    lr: float
    train_loss: float | None
    val_loss: float | None
    val_top1: float | None
    val_top5: float | None
    images_per_second: float
    seconds: float

    def row(self) -> Row:
        """Return the metrics as JSON can hold them, None for infinity and nan."""
        items = asdict(self).items()
        return {k: v if v is None or math.isfinite(v) else None for k, v in items}

    def line(self) -> str:
        """Return the metrics as text for the screen."""
        parts = {
            "epoch": f"{self.epoch}",
            "lr": f"{self.lr:.4g}",
            "train loss": _format(self.train_loss, ".4f"),
            "val loss": _format(self.val_loss, ".4f"),
            "top-1": _format(self.val_top1, ".2f"),
            **({} if self.val_top5 is None else {"top-5": f"{self.val_top5:.2f}"}),
            "images/s": format_rate(self.images_per_second),
            "seconds": f"{self.seconds:.0f}",
        }
        return "  ".join(f"{name} {text}" for name, text in parts.items())


def append_row(folder: Path, rows: Sequence[Row], row: Row) -> None:
    """Append a row to a run's metrics.jsonl, whose content should be `rows`.

    If it is not, because the file is damaged, deleted, or ahead of the checkpoint that the run has
    resumed from, a file with all rows takes its place. Whenever the process is killed, the file has
    the rows before or those after.

    Raises:
        OSError: The file cannot be written.
    """
    path = folder / METRICS
    before = _to_bytes(rows)
    if not (path.is_file() and path.read_bytes() == before):
        write_atomically(path, lambda file: file.write(before + _to_bytes([row])))
        return
    with path.open("ab") as file:
        file.write(_to_bytes([row]))
        file.flush()
        os.fsync(file.fileno())


def _to_bytes(rows: Sequence[Row]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def read_metrics(folder: Path) -> list[Row]:
    """Read the rows of a run's metrics.jsonl, one for each epoch in ascending order.

    A warning counts the lines that are passed over: damaged ones, as a crash may leave them, and
    all but the last of an epoch.
    """
    path = folder / METRICS
    try:
        content = path.read_bytes() if path.is_file() else b""
    except OSError as error:
        say(f"warning: cannot read {printable(path)}: {reason_of(error)}")
        return []
    rows, passed_over = parse_metrics(content)
    if passed_over:
        say(f"warning: {printable(path)} is damaged; passed over: {join_names(passed_over)}")
    return rows


def parse_metrics(content: bytes) -> tuple[list[Row], list[str]]:
    """Return the rows of a metrics.jsonl, one for each epoch in ascending order.

    Returns:
        The rows, and what of the file was passed over: damaged lines, as a crash may leave them,
        and all but the last line of an epoch.
    """
    rows: dict[int, Row] = {}
    passed_over = []
    columns = dict.fromkeys(EpochMetrics.__dataclass_fields__)
    # JSON has no NUL bytes: after a power loss they stand for what was not yet on the disk.
    for number, line in enumerate(content.split(b"\n"), 1):
        for part in re.split(b"\0+", line.removeprefix(b"\xef\xbb\xbf")):
            if not part.strip():
                continue
            row = _parse(part)
            if row is None:
                passed_over.append(f"line {number}")
                continue
            if (epoch := row["epoch"]) in rows:
                passed_over.append(f"all but the last line of epoch {epoch}")
            rows[epoch] = {**columns, **row}
    if b"\0" in content:
        passed_over.append("NUL bytes")
    return [rows[epoch] for epoch in sorted(rows)], list(dict.fromkeys(passed_over))


def _parse(line: bytes) -> Row | None:
    """Return the row of a line, None if it is not one."""
    try:
        content: Row = json.loads(line.decode())
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict):
        return None
    row = {RENAMED.get(name, name): value for name, value in content.items()}
    return row if _is_valid(row) else None


def _is_valid(row: Mapping[str, Any]) -> bool:
    """Return whether a row names its epoch and step, and its columns have values of their types."""
    counters = [row.get(name) for name in ("epoch", "global_step")]
    if not all(type(value) is int and 0 < value < 2**63 for value in counters):
        return False
    return all(_is_number(row.get(name)) for name in EpochMetrics.__dataclass_fields__)


def _is_number(value: Any) -> bool:
    """Return whether a value is None or can be plotted."""
    if value is None:
        return True
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) <= sys.float_info.max  # not nan, infinity or a larger integer


def _format(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
