"""The data that the page embeds: plain values that JSON can hold, and printable text."""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rednet.comparison.run import Confusion, Mistake, Run
from rednet.comparison.scores import COLUMNS, is_finished, values_of
from rednet.comparison.settings import differing_keys, to_text, to_value
from rednet.wording import printable

MAX_POINTS = 500
"""Epochs of a curve; of a longer run, as many are taken at equal distances."""
MAX_TEXT = 400
"""Length up to which a text is shown."""
ALWAYS = ("epoch", "global_step", "seconds")


def to_document(runs: Sequence[Run]) -> dict[str, Any]:
    """Return what the page shows.

    Returns:
        `columns` of the table; `differing`, the keys of the settings that differ; `common`, the
        others as text; `runs`; `series`, the curves of each run; and `curves`, their names.
    """
    differing = differing_keys(runs)
    known = next((run.settings for run in runs if run.settings), {})
    common = {key: to_text(value) for key, value in known.items() if key not in differing}
    common.pop("output_dir", None)
    series = [_series(run.rows) for run in runs]
    document = {
        "columns": [asdict(column) for column in COLUMNS],
        "differing": differing,
        "common": common,
        "runs": [_describe(run, differing) for run in runs],
        "series": series,
        "curves": list(dict.fromkeys(name for each in series for name in each)),
    }
    return {key: _plain(value) for key, value in document.items()}


def _describe(run: Run, differing: Sequence[str]) -> dict[str, Any]:
    return {
        "name": run.name,
        "folder": run.folder,
        "finished": is_finished(run),
        "values": values_of(run),
        "settings": {key: to_value(run.settings[key]) for key in differing if key in run.settings},
        "configured": bool(run.settings),
        "epochs": len(run.rows),
        "commands": [start["command"] for start in run.starts if "command" in start],
        "confusions": [_pair(each) for each in run.confusions],
        "num_confusions": run.num_confusions,
        "mistakes": [_mistake(each) for each in run.mistakes],
        "problems": list(run.problems),
    }


def _series(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return the columns of metrics.jsonl that have numbers, also those that are unknown here."""
    seconds, total = [], 0.0
    for row in rows:
        total += row["seconds"] or 0.0
        seconds.append(total)
    stride = max(1, math.ceil(len(rows) / MAX_POINTS))
    kept = [index for index in range(len(rows)) if index % stride == 0 or index == len(rows) - 1]
    names = dict.fromkeys(name for row in rows for name in row)
    series = {name: [_number(rows[index].get(name)) for index in kept] for name in names}
    # The sum is what a curve is drawn over; the duration of each epoch is a curve.
    series["epoch_seconds"] = series.pop("seconds", [])
    series["seconds"] = [seconds[index] for index in kept]
    has_values = (name for name, values in series.items() if set(values) != {None})
    return {name: series[name] for name in has_values}


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number else None


def _pair(confusion: Confusion) -> list[Any]:
    return [confusion.true, confusion.predicted, confusion.count, confusion.share]


def _mistake(mistake: Mistake) -> dict[str, Any]:
    values = asdict(mistake)
    data = base64.b64encode(values.pop("thumbnail")).decode()
    return {**values, "image": f"data:image/jpeg;base64,{data}"}


def _plain(value: Any) -> Any:
    """Return a value with printable, not too long texts and numbers of six digits."""
    if isinstance(value, str):
        is_image = value.startswith("data:image/jpeg;base64,")
        return value if is_image else _shorten(printable(value))
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_plain(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}..."
