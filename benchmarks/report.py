"""Write results as text: a table to read, CSV to compare, JSON with everything."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from rednet.files import to_csv, to_json

Record = dict[str, Any]

FORMAT = 1
SIGNIFICANT = 5
MEASURED = ("resnet", "rednet")
"""Contenders whose memory is measured."""


def operator_records(rows: Iterable[Mapping[str, Any]]) -> Iterator[Record]:
    """Yield a flat record for every layer, precision, batch, pass and contender."""
    case = ("layer", "precision", "batch", "pass")
    for row in rows:
        for name, own in row["contenders"].items():
            yield {
                **{key: row[key] for key in case},
                "contender": name,
                **_spread("ms", own["ms"]),
                "speedup": own["speedup"]["of_medians"],
                **_spread("turns_speedup", own["speedup"]),
                "gflops": own["gflops"],
                "gbs": own["gbs"],
                "share": own["share"]["of_medians"],
                **_spread("turns_share", own["share"]),
                "binds": row["ceilings"]["binds"],
                "peak_mib": own["peak_mib"],
                **own.get("gpu", {}),
            }


def network_records(rows: Iterable[Mapping[str, Any]]) -> Iterator[Record]:
    """Yield a flat record for every setting."""
    case = ("depth", "mode", "precision", "execution", "batch", "image_size", "backend")
    for row in rows:
        record = {key: row[key] for key in case}
        for name, own in row["contenders"].items():
            record |= {f"{name}_ms_per_image": own["ms_per_image"]["median"]}
        for name, ratio in row["ratios"].items():
            record |= {name: ratio["of_medians"], **_spread(f"turns_{name}", ratio)}
        record |= {f"{name}_peak_mib": row["contenders"][name]["peak_mib"] for name in MEASURED}
        yield {**record, "memory_over_resnet": row["memory_over_resnet"]}


def pointwise_records(rows: Iterable[Mapping[str, Any]]) -> Iterator[Record]:
    """Yield a flat record for every convolution and direction."""
    for record in flat_records(rows):
        size = record["size"]
        shape = f"{record['in_channels']} to {record['out_channels']}, {size}x{size}"
        yield {**record, "shape": shape}


def flat_records(rows: Iterable[Mapping[str, Any]]) -> Iterator[Record]:
    """Yield a flat record for every row: spreads as three numbers, no single turns."""
    for row in rows:
        record: Record = {}
        for name, value in row.items():
            if isinstance(value, Mapping):
                record |= _spread(name, value)
            elif not name.startswith("turns_"):
                record[name] = value
        yield record


def _spread(name: str, values: Mapping[str, float]) -> Record:
    return {
        f"{name}_median": values["median"],
        f"{name}_lower": values["lower"],
        f"{name}_upper": values["upper"],
    }


def to_table(records: Sequence[Record], columns: Mapping[str, str]) -> str:
    """Return the columns of flat records that have a heading, as aligned text."""
    return tabulate(
        [[record[name] for name in columns] for record in records],
        headers=list(columns.values()),
        tablefmt="plain",
        floatfmt=".4g",
        numalign="right",
        missingval="-",
    )


def write_csv(records: Sequence[Record], path: Path) -> None:
    """Write flat records, with floats rounded to `SIGNIFICANT` digits."""
    path.write_text(to_csv([_rounded(record) for record in records]))


def write_json(content: Record, rows: Sequence[Record], path: Path) -> None:
    """Write `content` and, under "rows", one line for every row."""
    records = [_rounded(row) for row in rows]
    path.write_text(to_json({"format": FORMAT, **content}, "rows", records))


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{SIGNIFICANT}g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value
