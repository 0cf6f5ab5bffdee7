"""Tables: lines of text to read, and the figures behind them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from tabulate import tabulate

from rednet.paper.comparison import NOT_COMPARABLE, Comparison, number, signed


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        key: Its short name in files.
        title: Above it.
        columns: Headings.
        lines: A text for each column.
        comparisons: The figures in it, one by one.
        notes: Below it.
    """

    key: str
    title: str
    columns: Sequence[str]
    lines: Sequence[Sequence[str]]
    comparisons: Sequence[Comparison]
    notes: Sequence[str] = ()

    def to_markdown(self) -> str:
        """Return the table as a Markdown section, readable as plain text too."""
        body = tabulate(
            self.lines,
            self.columns,
            tablefmt="pipe",
            colalign=[_alignment(cells) for cells in zip(*self.lines, strict=True)],
            disable_numparse=True,  # keeps trailing zeros: a printed 34.0 stays 34.0
        )
        return "\n\n".join((f"## {self.title}", body, *self.notes)) + "\n"


def _alignment(cells: Sequence[str]) -> str:
    """Return "right" for a column of numbers, with "-" where there is none, else "left"."""
    numeric = [cell.lstrip("+-")[:1].isdigit() for cell in cells if cell != "-"]
    return "right" if numeric and all(numeric) else "left"


@dataclass
class Footnotes:
    """Numbered remarks below a table, each once."""

    texts: list[str] = field(default_factory=list)

    def mark(self, text: str) -> str:
        """What to write behind a cell that the remark is about."""
        if not text:
            return ""
        if text not in self.texts:
            self.texts.append(text)
        return f" [{self.texts.index(text) + 1}]"

    def notes(self) -> list[str]:
        """The remarks, a paragraph each."""
        return [f"[{index}] {text}" for index, text in enumerate(self.texts, 1)]


def explain(
    comparisons: Sequence[Comparison],
    reasons: Mapping[tuple[str, str], str],
    otherwise: str = "",
) -> list[Comparison]:
    """Gives the figures that are not reproduced their reasons.

    Args:
        comparisons: Figures.
        reasons: By row and quantity.
        otherwise: The reason of those that are not listed.
    """
    return [
        item
        if item.difference is None or item.is_reproduced
        else replace(item, reason=reasons.get((item.row, item.quantity), otherwise))
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
) -> Table:
    """A table with published, ours and difference for each quantity.

    Args:
        key: Of the table.
        title: Of the table.
        heading: Of the first column, which has the names of the rows.
        rows: The figures of each, with the same quantities and sources in the same order.
        digits: Of ours and the difference, after the point.
        extra: Further cells of each row by their headings.
        notes: Below the table, above the reasons.
    """
    footnotes = Footnotes()
    further = extra or [{} for _ in rows]
    lines = [
        [row[0].row, *_cells(row, digits, footnotes), *cells.values()]
        for row, cells in zip(rows, further, strict=True)
    ]
    columns = [heading, *_headings(rows[0]), *further[0]]
    figures = [item for row in rows for item in row]
    count = _count_reproduced(figures)
    return Table(key, title, columns, lines, figures, [*count, *notes, *footnotes.notes()])


def _count_reproduced(figures: Sequence[Comparison]) -> list[str]:
    """A remark on how many figures of each source are reproduced, if there are any.

    A figure counts once, however many rows compare something with it.
    """
    counts: dict[str, dict[tuple[str, str], bool]] = {}
    for item in figures:
        if item.is_comparable:
            found, figure = counts.setdefault(item.source, {}), (item.network, item.quantity)
            found[figure] = item.is_reproduced or found.get(figure, False)
    told = [f"{name} {sum(found.values())} of {len(found)}" for name, found in counts.items()]
    return [f"Reproduced to the last printed digit: {', '.join(told)}."] if told else []


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
        finest = group[-1]
        ours = number(finest.ours, digits)
        if finest.source:
            reasons = dict.fromkeys(item.reason for item in group)
            said = _said(group) + "".join(map(footnotes.mark, reasons))
            cells += [item.published or "-" for item in group]
            cells += [ours, signed(finest.difference, digits), said]
        else:
            cells.append(ours)
    return cells


def _said(group: Sequence[Comparison]) -> str:
    """Whose figures ours reproduces."""
    compared = [item for item in group if item.difference is not None]
    right = [item.source for item in compared if item.is_reproduced]
    if not compared:
        return "-"
    if not any(item.is_comparable for item in compared):
        return NOT_COMPARABLE
    if len(right) == len(compared):
        return "yes"
    return f"{' and '.join(right)} only" if right else "no"
