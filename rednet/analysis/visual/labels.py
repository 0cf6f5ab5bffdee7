"""Labels beside the points of a plot, where there is room for them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

DISTANCE = 2.6  # points (1/72 inch), as the next three
MARKER_RADIUS = 1.8
LINE_STEP = 1.5
GAP = 1.0

_SIDES = (
    (0, 1, "center", "bottom"),
    (-1, 1, "right", "bottom"),
    (1, -1, "left", "top"),
    (0, -1, "center", "top"),
    (1, 0, "left", "center"),
    (-1, 0, "right", "center"),
    (1, 1, "left", "bottom"),
    (-1, -1, "right", "top"),
)


@dataclass(frozen=True)
class Label:
    """A text for a point, in the axes' units; `bold` if it matters most."""

    x: float
    y: float
    text: str
    color: str
    bold: bool = False


def place_labels(axes: Axes, labels: Iterable[Label], size: float) -> list[Label]:
    """Writes the labels, first come first served, each where it covers nothing, or not at all.

    Whatever has a line or a legend in the axes must be there already, and so must the limits.

    Args:
        axes: To write in.
        labels: The important ones first.
        size: Of the letters, in points.

    Returns:
        Those that found a place.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # the layout has its say before anything is measured
    taken = _obstacles(axes)
    placed = []
    for label in labels:
        box = _place(axes, label, size, taken)
        if box is not None:
            taken.append(box.padded(GAP * axes.figure.dpi / 72))
            placed.append(label)
    return placed


def _place(axes: Axes, label: Label, size: float, taken: Sequence[Bbox]) -> Bbox | None:
    for side in _SIDES:
        annotation = _annotate(axes, label, size, side)
        box = annotation.get_window_extent()
        if axes.bbox.count_contains([box.min, box.max]) == 2 and not box.count_overlaps(taken):
            return box
        annotation.remove()
    return None


def _annotate(axes: Axes, label: Label, size: float, side: tuple[int, int, str, str]) -> Annotation:
    right, up, horizontal, vertical = side
    annotation = axes.annotate(
        label.text,
        (label.x, label.y),
        (right * DISTANCE, up * DISTANCE),
        textcoords="offset points",
        ha=horizontal,
        va=vertical,
        fontsize=size,
        color=label.color,
        fontweight="bold" if label.bold else "normal",
    )
    annotation.set_in_layout(False)
    return annotation


def _obstacles(axes: Axes) -> list[Bbox]:
    """Boxes, in pixels, around the legend, the markers, and pieces of the lines."""
    scale = axes.figure.dpi / 72
    legend = axes.get_legend()
    boxes = [legend.get_window_extent()] if legend else []
    for line in axes.get_lines():
        points = axes.transData.transform(line.get_xydata())
        radius = MARKER_RADIUS * scale
        boxes += [_around(point, radius) for point in points]
        for start, end in pairwise(points):
            steps = max(2, int(np.hypot(*(end - start)) / (LINE_STEP * scale)))
            pieces = np.linspace(start, end, steps)
            boxes += [_around(point, scale / 2) for point in pieces]
    return boxes


def _around(point: np.ndarray, radius: float) -> Bbox:
    return Bbox([point - radius, point + radius])
