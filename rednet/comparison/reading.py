"""From the folder of a run to plain values; a damaged file is a line on the page, no error."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from rednet.best_effort import reason_of
from rednet.comparison.mistakes import read_confusions, read_mistakes, read_pairs
from rednet.comparison.run import Confusion, Run
from rednet.comparison.run_folders import CONFIG, PROVENANCE
from rednet.training.metrics import METRICS, parse_metrics
from rednet.weights import read_run_config
from rednet.wording import join_names

MAX_BYTES = 64 * 2**20
"""Size up to which a file of a run is read."""
MAX_CONFUSIONS = 30
CONFUSIONS = ("confusions.csv", "evaluation/confusions.csv")
"""Where they may be: written by the run itself, or by evaluate.py to a subfolder."""

T = TypeVar("T")


def read_run(name: str, folder: Path, max_mistakes: int) -> Run:
    """Read what is known about a run.

    Args:
        name: Name of the run on the page.
        folder: Folder of the run.
        max_mistakes: Number of wrongly predicted images to read.
    """
    problems: list[str] = []

    def attempt(file: str, read: Callable[[Path], T]) -> T | None:
        try:
            return read(folder / file)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
            problems.append(f"{file} cannot be read: {reason_of(error)}")
            return None

    settings = attempt(CONFIG, read_settings) or {}
    metrics = attempt(METRICS, lambda path: parse_metrics(read_bytes(path)))
    rows, passed_over = metrics or ([], [])
    starts = attempt(PROVENANCE, _read_starts) or []
    confusions: list[Confusion] = []
    for file in CONFUSIONS:
        confusions = confusions or attempt(file, read_confusions) or []
    confusions = confusions or attempt("mistakes", read_pairs) or []
    mistakes = attempt("mistakes", lambda path: read_mistakes(path, max_mistakes)) or []
    if passed_over:
        problems.append(f"{METRICS} is damaged; passed over: {join_names(passed_over)}")
    problems += (f"no {file}" for file in (CONFIG, METRICS) if not (folder / file).exists())
    return Run(
        name=name,
        folder=str(folder),
        settings=settings,
        rows=rows,
        starts=starts,
        confusions=confusions[:MAX_CONFUSIONS],
        num_confusions=len(confusions),
        mistakes=mistakes,
        problems=problems,
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
