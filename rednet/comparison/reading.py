"""From the folder of a run to plain values; a damaged file is a line on the page, no error."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from rednet.best_effort import reason_of
from rednet.comparison.mistakes import (
    CONFUSION,
    INDEX,
    find_evaluation,
    read_confusion_table,
    read_mistakes,
    read_pairs,
)
from rednet.comparison.run import Confusion, Mistake, Run
from rednet.comparison.run_folders import CONFIG, PROVENANCE
from rednet.training.metrics import METRICS, Row, parse_metrics
from rednet.weights import read_run_config
from rednet.wording import join_names

MAX_BYTES = 64 * 2**20
"""Size up to which a file of a run is read."""
MAX_CONFUSIONS = 30
TABLES = ("confusions.csv", "evaluation/confusions.csv")
"""Where evaluate.py may have written all confusions."""

T = TypeVar("T")


class _Reader:
    """Reads the files of a run; what cannot be read is noted.

    Attributes:
        problems: What is missing or damaged, in words.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.problems: list[str] = []

    def read(self, path: Path, read: Callable[[Path], T]) -> T | None:
        """Return what `read` makes of a file, None if it cannot; a missing file is no problem."""
        try:
            return read(path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as e:
            name = path.relative_to(self.folder).as_posix()
            self.problems.append(f"{name} cannot be read: {reason_of(e)}")
            return None

    def settings(self) -> dict[str, Any]:
        """Return the values of config.yaml by dotted key."""
        return self.read(self.folder / CONFIG, read_settings) or {}

    def rows(self) -> list[Row]:
        """Return the rows of metrics.jsonl."""
        read = self.read(self.folder / METRICS, lambda path: parse_metrics(read_bytes(path)))
        rows, passed_over = read or ([], [])
        if passed_over:
            self.problems.append(f"{METRICS} is damaged; passed over: {join_names(passed_over)}")
        return rows

    def starts(self) -> list[dict[str, Any]]:
        """Return the lines of provenance.jsonl."""
        return self.read(self.folder / PROVENANCE, _read_starts) or []

    def confusions(self, evaluation: Path | None) -> list[Confusion]:
        """Return the pairs of the table with all of them, else those of an evaluation."""
        for name in TABLES:
            if found := self.read(self.folder / name, read_confusion_table):
                return found
        return [] if evaluation is None else self.read(evaluation / CONFUSION, read_pairs) or []

    def mistakes(self, evaluation: Path | None, limit: int) -> list[Mistake]:
        """Return the worst mistakes of an evaluation."""
        if evaluation is None:
            return []
        return self.read(evaluation / INDEX, lambda path: read_mistakes(path, limit)) or []


def read_run(name: str, folder: Path, max_mistakes: int) -> Run:
    """Read what is known about a run.

    Args:
        name: Name of the run on the page.
        folder: Folder of the run.
        max_mistakes: Number of wrongly predicted images to read.
    """
    reader = _Reader(folder)
    settings, rows, starts = reader.settings(), reader.rows(), reader.starts()
    evaluation = find_evaluation(folder)
    confusions = reader.confusions(evaluation)
    mistakes = reader.mistakes(evaluation, max_mistakes)
    missing = [f"no {file}" for file in (CONFIG, METRICS) if not (folder / file).exists()]
    return Run(
        name=name,
        folder=str(folder),
        settings=settings,
        rows=rows,
        starts=starts,
        confusions=confusions[:MAX_CONFUSIONS],
        num_confusions=len(confusions),
        mistakes=mistakes,
        problems=[*missing, *reader.problems],
    )


def read_bytes(path: Path) -> bytes:
    """Return the content of a file.

    Raises:
        OSError: It cannot be read.
        ValueError: It is far larger than such a file gets.
    """
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError("too large")
    return content


def read_settings(path: Path) -> dict[str, Any]:
    """Return the values of a config.yaml by dotted key.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no configuration.
    """
    return dict(_flatten(read_run_config(read_bytes(path).decode())))


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _read_starts(path: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a provenance.jsonl."""
    starts = []
    for line in read_bytes(path).split(b"\n"):
        try:
            start = json.loads(line.strip(b"\0"))
        except (ValueError, RecursionError):
            continue
        if isinstance(start, dict):
            starts.append(start)
    return starts
