"""Flat records as text: CSV, and JSON with a line for each."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

Record = Mapping[str, Any]


def to_csv(records: Sequence[Record], line_end: str = "\n") -> str:
    """Records with the same keys, at least one, under a line of these keys."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(records[0]), lineterminator=line_end)
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def to_json(content: Record, name: str, records: Sequence[Record]) -> str:
    """An object of `content` and, under `name`, the records."""
    head = json.dumps(content, indent=1).removesuffix("\n}")
    lines = ",\n  ".join(json.dumps(record) for record in records)
    return f'{head},\n "{name}": [\n  {lines}\n ]\n}}\n'
