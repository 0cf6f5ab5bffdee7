"""The files of the check: one JSON file, one page of text, one log. Written after every stage."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.gpu_check.predictions import judge_choice
from benchmarks.gpu_check.runner import Outcome

NAME = "gpu_check"
FORMAT = 1
MOST_LINES = 16
"""Lines of a stage on the page, which is to fit a terminal's last hundred lines."""


def write_record(folder: Path, header: Mapping[str, Any], outcomes: Sequence[Outcome]) -> None:
    """Write all files anew, each at once."""
    stages = [asdict(outcome) for outcome in outcomes]
    for stage in stages:
        del stage["output"]
    texts = {
        "json": json.dumps({"format": FORMAT, **header, "stages": stages}, indent=1) + "\n",
        "txt": to_page(header, outcomes),
        "log": "".join(f"===== {one.name}: {one.status}\n{one.output}\n" for one in outcomes),
    }
    for ending, text in texts.items():
        path = folder / f"{NAME}.{ending}"
        draft = path.with_suffix(".tmp")
        draft.write_text(text, encoding="utf-8")
        os.replace(draft, path)


def to_page(header: Mapping[str, Any], outcomes: Sequence[Outcome]) -> str:
    """Return the page of text."""
    lines = [f"{key}: {value}" for key, value in header.items()]
    for outcome in outcomes:
        lines += _section(outcome)
    verdicts = judge_choice([row for outcome in outcomes for row in outcome.rows])
    lines += ["[predictions]", *(f"  {line}" for line in verdicts)] if verdicts else []
    counts = {
        status: sum(one.status == status for one in outcomes) for status in _statuses(outcomes)
    }
    lines.append(", ".join(f"{number} {status}" for status, number in counts.items()))
    return "\n".join(lines) + "\n"


def _statuses(outcomes: Sequence[Outcome]) -> list[str]:
    return list(dict.fromkeys(outcome.status for outcome in outcomes))


def _section(outcome: Outcome) -> list[str]:
    """Return the lines of a stage: its status, then what it found, failures first."""
    reason = f" ({outcome.reason})" if outcome.reason else ""
    head = f"[{outcome.name}] {outcome.status}{reason}, {outcome.seconds:.0f} s"
    rows = sorted(outcome.rows, key=lambda row: row.get("ok") is not False)
    lines = [f"  {row['line']}" for row in rows if row.get("line")]
    if len(lines) > MOST_LINES:
        rest = len(lines) - MOST_LINES + 1
        lines[MOST_LINES - 1 :] = [f"  ... and {rest} more lines in {NAME}.json"]
    return [head, *lines]
