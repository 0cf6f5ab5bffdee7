"""The style of the figures, and how figures and their numbers are saved."""

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from rednet.files import to_csv

COLUMN_WIDTH, PAGE_WIDTH = 3.35, 6.9
"""Width in inches of a column and of the text on a two-column page."""

VERMILION, BLUE, SKY = "#D55E00", "#0072B2", "#56B4E9"
"""Colours of the palette by Okabe and Ito, which colour-blind readers can tell apart."""

GRAY, LIGHT_GRAY = "#595959", "#a0a0a0"
"""Gray of text, and of lines in the background."""

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
"""Decorator of the functions that draw figures."""


@paper_style
def save_figure(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Save a figure as PNG and SVG; equal figures give equal bytes.

    Returns:
        The paths of the two files.
    """
    png, svg = folder / f"{name}.png", folder / f"{name}.svg"
    with warnings.catch_warnings(action="ignore"):  # about glyphs missing from the font
        figure.savefig(png, dpi=300)
        figure.savefig(svg, dpi=300, metadata={"Date": None})
    return [png, svg]


def write_rows(rows: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Write the numbers of a figure as CSV, floats with six digits; return the path."""
    path.write_text(to_csv([{key: _rounded(value) for key, value in row.items()} for row in rows]))
    return path


def _rounded(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value


def format_number(value: float) -> str:
    """Format with two significant digits, all digits before the point, rarely an exponent."""
    if value and not 1e-4 <= abs(value) < 1e5:
        return f"{value:.1e}"
    return f"{value:.{_decimals(value)}f}"


def format_range(low: float, high: float) -> str:
    """Format the ends of a range with the digits that tell them apart."""
    if max(abs(low), abs(high)) >= 1e5 or high - low < 1e-4:
        return f"{format_number(low)} to {format_number(high)}"
    return " to ".join(f"{value:z.{_decimals(high - low)}f}" for value in (low, high))


def _decimals(value: float) -> int:
    """Return the number of decimals that show two significant digits."""
    return max(0, 1 - math.floor(math.log10(abs(value)))) if value else 0


def add_note(figure: Figure, text: str) -> None:
    """Add a footnote at the bottom right."""
    figure.supxlabel(text, x=0.985, ha="right", fontsize=NOTE_SIZE, color=GRAY)
