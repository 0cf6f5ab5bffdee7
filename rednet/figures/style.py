"""The look of the pictures for a paper, and how they and their numbers become files."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from rednet.files import to_csv

COLUMN_WIDTH, PAGE_WIDTH = 3.35, 6.9
"""Inches, of a column and of the text of a two-column page."""

VERMILION, BLUE, GREEN, PURPLE, SKY, GRAY = (
    "#D55E00",
    "#0072B2",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#595959",
)
"""Of Okabe and Ito's palette, whose colours stay apart for colour-blind eyes."""

DIVERGING, SEQUENTIAL = "RdBu_r", "cividis"

NOTE_SIZE = 5.5

paper_style = rc_context(
    {
        "font.family": "DejaVu Sans",
        "font.size": 7,
        "axes.titlesize": 7,
        "axes.labelsize": 7,
        "axes.linewidth": 0.6,
        "legend.fontsize": 6,
        "legend.frameon": False,
        "lines.linewidth": 1.0,
        "lines.markersize": 3.5,
        "xtick.labelsize": 6,
        "ytick.labelsize": 6,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "xtick.major.size": 2.5,
        "ytick.major.size": 2.5,
        "grid.color": "#dddddd",
        "grid.linewidth": 0.4,
        "svg.hashsalt": "rednet",
    }
)
"""Decorates the functions that draw."""


@paper_style
def save_figure(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Writes a figure as PNG and as SVG, the same bytes every time.

    Returns:
        The two files.
    """
    png, svg = folder / f"{name}.png", folder / f"{name}.svg"
    with warnings.catch_warnings(action="ignore"):  # of letters that the font lacks
        figure.savefig(png, dpi=300)
        figure.savefig(svg, dpi=300, metadata={"Date": None})
    return [png, svg]


def write_rows(rows: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Writes the numbers behind a figure as CSV, floats with six digits; returns the path."""
    path.write_text(to_csv([{key: _short(value) for key, value in row.items()} for row in rows]))
    return path


def _short(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value


def add_note(figure: Figure, text: str) -> None:
    """Writes a footnote below everything, at the right."""
    figure.supxlabel(text, x=0.985, ha="right", fontsize=NOTE_SIZE, color=GRAY)
