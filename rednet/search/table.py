"""The table of several runs, best first: on the screen, as CSV and as Markdown."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from rednet.best_effort import BestEffort
from rednet.files import to_csv, write_text_atomically
from rednet.search.metric import HEADINGS, Metric
from rednet.search.outcomes import Outcome, best_first
from rednet.wording import duration, printable

MAX_CELL = 40
"""Characters of a cell on the screen and in Markdown."""


def report_table(
    outcomes: Sequence[Outcome], metric: Metric, folder: Path | None, name: str
) -> list[str]:
    """Write the table as ``name.csv`` and ``name.md`` into a folder, if possible.

    Args:
        outcomes: What came of each run.
        metric: Metric by which the runs are sorted.
        folder: Folder of the sweep, to which the runs' folders are given relative; None: no files.
        name: Name of the files, without a suffix.

    Returns:
        Lines for the screen: the table, and why runs failed.
    """
    ranked = best_first(outcomes, metric)
    records = [_record(outcome, metric, folder) for outcome in ranked]
    table = _format(records)
    reasons = [
        f"failed: {_label(each)}: {printable(each.reason)}" for each in ranked if each.reason
    ]
    markdown = "\n\n".join([table, *reasons]) + "\n"
    if folder is not None:
        _write(folder / f"{name}.csv", to_csv(records, line_end="\r\n"))
        _write(folder / f"{name}.md", markdown)
    return [*table.splitlines(), *reasons]


def _write(path: Path, text: str) -> None:
    with BestEffort("the runs are complete without it").write(str(path)):
        write_text_atomically(path, text)


def _record(outcome: Outcome, metric: Metric, folder: Path | None) -> dict[str, Any]:
    """Return the row of a run."""
    path = outcome.folder
    name = path.relative_to(folder) if folder and path.is_relative_to(folder) else path
    return {
        **{key: printable(value) for key, value in outcome.settings.items()},
        HEADINGS[metric]: outcome.value,
        "epochs": outcome.epochs,
        "seconds": round(outcome.seconds, 1),
        "state": outcome.state,
        "folder": printable(name),
        "reason": printable(outcome.reason),
    }


def _format(records: Sequence[Mapping[str, Any]]) -> str:
    """Return the table as Markdown, which is readable on the screen, too."""
    columns = [column for column in records[0] if column != "reason"]
    cells = [[_cell(column, record[column]) for column in columns] for record in records]
    alignment = ["right" if column in _NUMBERS else "left" for column in columns]
    return tabulate(
        cells,
        [column.replace("seconds", "time") for column in columns],
        tablefmt="pipe",
        colalign=alignment,
        disable_numparse=True,
    )


_NUMBERS = (*HEADINGS.values(), "epochs", "seconds")


def _cell(column: str, value: Any) -> str:
    if value is None:
        return "-"
    if column == "seconds":
        return duration(value)
    if isinstance(value, float):
        return f"{value:.4f}" if column.endswith("loss") else f"{value:.2f}"
    text = _round(str(value)).replace("|", "\\|")
    is_short = len(text) <= MAX_CELL or column == "folder"
    return text if is_short else f"{text[: MAX_CELL - 3]}..."


def _round(text: str) -> str:
    """Shorten a number that was drawn, such as 0.00123456789; the CSV file has all of it."""
    is_long = re.fullmatch(r"-?\d+\.\d{5,}(e-?\d+)?", text)
    return f"{float(text):.4g}" if is_long else text


def _label(outcome: Outcome) -> str:
    settings = " ".join(f"{key}={value}" for key, value in outcome.settings.items())
    return printable(settings or outcome.folder)
