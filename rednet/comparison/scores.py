"""How far a run is, how good and how costly."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from rednet.comparison.run import Run

Row = Mapping[str, Any]

GIBIBYTE = 2**30
MEMORY = "peak_memory_bytes"
"""Column of metrics.jsonl, where there is one."""


@dataclass(frozen=True)
class Column:
    """A number or text that a run has, and the table shows.

    Attributes:
        key: Its key in `values_of`.
        label: Heading.
        group: What it is about: "result", "cost" or "run".
        form: How it is shown: "text", "number", "percent", "seconds", "count" or "time".
        better: "max" or "min" where more or less of it is better, else "".
        help: What it is, in a sentence.
        shown: Whether the table shows it at first.
    """

    key: str
    label: str
    group: str
    form: str = "number"
    better: str = ""
    help: str = ""
    shown: bool = True


COLUMNS = (
    Column("top1", "Top-1", "result", "percent", "max", "Best validation top-1 accuracy, percent"),
    Column("top5", "Top-5", "result", "percent", "max", "Top-5 accuracy of that epoch, percent"),
    Column("best_epoch", "Best at", "result", help="Epoch of the best top-1 accuracy"),
    Column("val_loss", "Val loss", "result", "number", "min", "Validation loss of that epoch"),
    Column("train_loss", "Train loss", "result", "number", "min", "Training loss of that epoch"),
    Column("last_top1", "Last top-1", "result", "percent", "max", "Of the last epoch", shown=False),
    Column("state", "State", "run", "text", help="Epochs that metrics.jsonl has, of those planned"),
    Column("seconds", "Time", "cost", "seconds", "min", "Sum of all epochs, with evaluation"),
    Column("rate", "Images/s", "cost", "number", "max", "Median over the epochs, in training"),
    Column("memory", "Memory, GiB", "cost", "number", "min", "Peak of the device, largest epoch"),
    Column("parameters", "Parameters", "cost", "count", "min", "Parameters of the network"),
    Column("macs", "MACs", "cost", "count", "min", "Multiply-adds for one image"),
    Column("model", "Network", "run", "text", help="model.name", shown=False),
    Column("started", "Started", "run", "time", help="First start of the run", shown=False),
    Column("device", "Device", "run", "text", help="Processor or GPU, last start", shown=False),
    Column("commit", "Commit", "run", "text", help="Commit of the last start's code", shown=False),
)


def values_of(run: Run) -> dict[str, Any]:
    """Return the value of each column, None where it is unknown."""
    nothing: Row = {}
    best = best_row(run.rows) or nothing
    last = next((row for row in reversed(run.rows) if row["val_top1"] is not None), nothing)
    return {
        "state": describe_state(run),
        "top1": best.get("val_top1"),
        "top5": best.get("val_top5"),
        "best_epoch": best.get("epoch"),
        "val_loss": best.get("val_loss"),
        "train_loss": best.get("train_loss"),
        "last_top1": last.get("val_top1"),
        "seconds": sum(_numbers(run.rows, "seconds")) or None,
        "rate": median(rates) if (rates := _numbers(run.rows, "images_per_second")) else None,
        "memory": max(_numbers(run.rows, MEMORY), default=0) / GIBIBYTE or None,
        "parameters": run.size.parameters,
        "macs": run.size.macs,
        "model": run.settings.get("model.name"),
        **_describe_start(run.starts),
    }


def best_row(rows: Sequence[Row]) -> Row | None:
    """Return the first epoch with the best top-1 accuracy, None if none was evaluated."""
    evaluated = [row for row in rows if row["val_top1"] is not None]
    return max(evaluated, key=lambda row: row["val_top1"], default=None)


def is_finished(run: Run) -> bool:
    """Return whether the run has all its epochs or steps."""
    if not run.rows:
        return False
    last, settings = run.rows[-1], run.settings
    limits = (("epoch", "schedule.epochs"), ("global_step", "trainer.max_steps"))
    known = [(last[name], settings.get(key)) for name, key in limits]
    return any(isinstance(limit, int) and done >= limit for done, limit in known)


def describe_state(run: Run) -> str:
    """Return how far a run is."""
    if is_finished(run):
        return "finished"
    epochs = run.settings.get("schedule.epochs")
    of = f" of {epochs}" if isinstance(epochs, int) else ""
    if run.rows:
        return f"epoch {run.rows[-1]['epoch']}{of}"
    return f"no epoch{of}" if run.settings or run.starts else "empty"


def _describe_start(starts: Sequence[Row]) -> dict[str, Any]:
    """Return when a run was started first, and where and with which code last."""
    first, last = (starts[0], starts[-1]) if starts else ({}, {})
    machine, code = last.get("machine"), last.get("code")
    machine = machine if isinstance(machine, Mapping) else {}
    commit = code.get("commit") if isinstance(code, Mapping) else None
    device = machine.get("device")
    device = machine.get("cpu") if device == "cpu" else device
    return {
        "started": _text(first.get("time")),
        "device": _text(device),
        "commit": commit[:10] if isinstance(commit, str) else None,
    }


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _numbers(rows: Sequence[Row], name: str) -> list[float]:
    values = (row.get(name) for row in rows)
    return [value for value in values if isinstance(value, int | float)]
