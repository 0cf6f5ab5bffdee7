"""Tables as text, together with the comparisons that their cells show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from textwrap import fill
from typing import Literal

from tabulate import tabulate

from rednet.paper.comparison import (
    NOT_COMPARABLE,
    Comparison,
    format_difference,
    format_number,
)

Section = Literal["summary", "accuracy", "appendix", "files"]
"""A part of the document, or "files" for a table that only the CSV and JSON files contain."""

NOTE_WIDTH = 100


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        key: Short name of the table in the files.
        title: Heading above the table.
        columns: Column headings.
        rows: The text of each cell, row by row.
        comparisons: The numbers to list in the files, one by one; empty if another table lists
            them.
        notes: Paragraphs below the table.
        section: The part of the document that shows the table.
    """

    key: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    comparisons: Sequence[Comparison]
    notes: Sequence[str] = ()
    section: Section = "appendix"

    def to_markdown(self, level: int = 2) -> str:
        """Return the table as a Markdown section, readable as plain text too.

        Args:
            level: Level of the heading.
        """
        # tabulate pads headings by two spaces, but not a first row.
        rule, heading, *body = tabulate(
            [self.columns, *self.rows],
            tablefmt="pipe",
            colalign=[_alignment(cells) for cells in zip(*self.rows, strict=True)],
            disable_numparse=True,  # keeps trailing zeros: a printed 34.0 stays 34.0
        ).splitlines()
        lines = "\n".join((heading, rule, *body))
        notes = (fill(note, NOTE_WIDTH, break_on_hyphens=False) for note in self.notes)
        return "\n\n".join((f"{'#' * level} {self.title}", lines, *notes)) + "\n"


def _alignment(cells: Sequence[str]) -> str:
    """Return "right" for a column of numbers and "-" for missing ones, else "left"."""
    numeric = [cell.lstrip("+-*")[:1].isdigit() for cell in cells if cell != "-"]
    return "right" if numeric and all(numeric) else "left"


@dataclass
class Footnotes:
    """Numbered footnotes of a table; equal texts share a number."""

    texts: list[str] = field(default_factory=list)

    def mark(self, text: str) -> str:
        """Return the mark to append to a cell, adding the footnote if it is new."""
        if not text:
            return ""
        if text not in self.texts:
            self.texts.append(text)
        return f" [{self.texts.index(text) + 1}]"

    def notes(self) -> list[str]:
        """Return the footnotes, one paragraph each."""
        return [f"[{index}] {text}" for index, text in enumerate(self.texts, 1)]


def add_reasons(
    comparisons: Sequence[Comparison],
    reasons: Mapping[tuple[str, str], str],
    default: str = "",
) -> list[Comparison]:
    """Add reasons to the comparisons whose published number is not reproduced.

    Args:
        comparisons: The comparisons.
        reasons: Reasons by row and quantity.
        default: Reason for all others.
    """
    return [
        item
        if item.difference is None or item.is_reproduced
        else replace(item, reason=reasons.get((item.row, item.quantity), default))
        for item in comparisons
    ]


def comparison_table(
    key: str,
    title: str,
    heading: str,
    rows: Sequence[Sequence[Comparison]],
    *,
    digits: int = 4,
    extra: Sequence[Mapping[str, str]] = (),
    notes: Sequence[str] = (),
    section: Section = "appendix",
) -> Table:
    """Build a table with the published numbers, ours and the difference for each quantity.

    Args:
        key: Key of the table.
        title: Title of the table.
        heading: Heading of the first column, which holds the names of the rows.
        rows: The comparisons of each row, with equal quantities and sources in equal order.
        digits: Decimal places of ours and of the difference.
        extra: Additional cells of each row, by heading.
        notes: Paragraphs to put before the footnotes.
        section: The part of the document that shows the table.
    """
    footnotes = Footnotes()
    extra = extra or [{} for _ in rows]
    cells = [
        [row[0].row, *_cells(row, digits, footnotes), *additional.values()]
        for row, additional in zip(rows, extra, strict=True)
    ]
    columns = [heading, *_headings(rows[0]), *extra[0]]
    comparisons = [item for row in rows for item in row]
    notes = [*count_reproduced(comparisons), *notes, *footnotes.notes()]
    return Table(key, title, columns, cells, comparisons, notes, section)


def count_reproduced(comparisons: Sequence[Comparison]) -> list[str]:
    """Return a note with the reproduced numbers by source, or nothing if none are comparable.

    A published number counts once, even if several rows are compared with it.
    """
    counts: dict[str, dict[tuple[str, str], bool]] = {}
    for item in comparisons:
        if item.is_comparable:
            found, number = counts.setdefault(item.source, {}), (item.network, item.quantity)
            found[number] = item.is_reproduced or found.get(number, False)
    texts = [f"{name} {sum(found.values())} of {len(found)}" for name, found in counts.items()]
    return [f"Reproduced to the last printed digit: {', '.join(texts)}."] if texts else []


def _by_quantity(row: Sequence[Comparison]) -> list[list[Comparison]]:
    return [list(group) for _, group in groupby(row, lambda item: item.quantity)]


def _headings(row: Sequence[Comparison]) -> list[str]:
    headings = []
    for group in _by_quantity(row):
        name = f"{group[0].quantity[0].upper()}{group[0].quantity[1:]}"
        name += f" ({group[0].unit})" if group[0].unit else ""
        sources = [item.source for item in group if item.source]
        if sources:
            headings += [f"{name}: {sources[0]}", *sources[1:], "here", "difference", "reproduced"]
        else:
            headings.append(name)
    return headings


def _cells(row: Sequence[Comparison], digits: int, footnotes: Footnotes) -> list[str]:
    cells = []
    for group in _by_quantity(row):
        last = group[-1]  # the source with the most digits
        ours = format_number(last.ours, digits)
        if last.source:
            reasons = dict.fromkeys(item.reason for item in group)
            verdict = _verdict(group) + "".join(map(footnotes.mark, reasons))
            cells += [item.published or "-" for item in group]
            cells += [ours, format_difference(last.difference, digits), verdict]
        else:
            cells.append(ours)
    return cells


def _verdict(group: Sequence[Comparison]) -> str:
    """Return which sources' numbers are reproduced."""
    compared = [item for item in group if item.difference is not None]
    reproduced = [item.source for item in compared if item.is_reproduced]
    if not compared:
        return "-"
    if not any(item.is_comparable for item in compared):
        return NOT_COMPARABLE
    if len(reproduced) == len(compared):
        return "yes"
    return f"{' and '.join(reproduced)} only" if reproduced else "no"
