"""Labels for the points of a plot: beside them, or where there is room at the end of a line."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

NEAR = 2.6  # points (1/72 inch), as all of these
FAR = (9, 12, 15, 19, 24, 30)
CLEARANCE = 6
MARKER_RADIUS = 1.8
STEP = 1.5
GAP = 5.0

Spot = tuple[float, float]
"""Where a label goes from its point, right and up, in points."""

_SIDES = ((0, 1), (-1, 1), (1, -1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, -1))
_TURN = [np.pi * (0.5 + step / 8) for step in range(16)]

NEAR_SPOTS: list[Spot] = [(NEAR * right, NEAR * up) for right, up in _SIDES]
FAR_SPOTS: list[Spot] = [
    (distance * float(np.cos(angle)), distance * float(np.sin(angle)))
    for distance, angle in product(FAR, _TURN)
]


@dataclass(frozen=True)
class Label:
    """A text for a point, in the axes' units; `bold` if it matters most."""

    x: float
    y: float
    text: str
    color: str
    bold: bool = False


@dataclass
class _Taken:
    """What is in the axes already, in pixels; boxes are (n, 2, 2), of lower left, upper right.

    Attributes:
        points: Of all labels, (n, 2).
        fixed: Boxes around the legend, the markers, the labels and their lines.
        kept: Boxes where further labels may not be, but their lines may.
    """

    points: np.ndarray
    fixed: np.ndarray
    kept: np.ndarray

    def add(self, box: Bbox, gap: float, leader: np.ndarray) -> None:
        """Takes the place of a label, some more around it, and that of its line."""
        self.fixed = np.concatenate([self.fixed, box.get_points()[None], leader])
        self.kept = np.concatenate([self.kept, box.padded(gap).get_points()[None]])


def place_labels(axes: Axes, labels: Iterable[Label], size: float) -> None:
    """Writes labels where they cover nothing and are near no point but their own.

    One that finds no place beside its point goes further away, and a thin line leads to it.
    Whatever has a line or a legend in the axes must be there already, and so must the limits.

    Args:
        axes: To write in.
        labels: The important ones first.
        size: Of the letters, in points.

    Raises:
        ValueError: There is no room for one.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # the layout has its say before anything is measured
    labels = list(labels)
    taken = _look_around(axes, labels)
    for spots in (NEAR_SPOTS, FAR_SPOTS):
        labels = [label for label in labels if not _place(axes, label, size, spots, taken)]
    if labels:
        raise ValueError(f"no room for the labels {', '.join(label.text for label in labels)}")


def _place(axes: Axes, label: Label, size: float, spots: list[Spot], taken: _Taken) -> bool:
    """Writes a label at the first spot that is free; returns whether there is one."""
    scale = axes.figure.dpi / 72
    point = axes.transData.transform((label.x, label.y))
    for spot in spots:
        text = _annotate(axes, label, size, spot)
        box = letters_box(text)
        leader = _leader(point, box, scale)[: None if text.arrow_patch else 0]
        if _fits(axes, box, point, taken, scale) and not _overlap(leader, taken.fixed):
            taken.add(box, GAP * scale, leader)
            return True
        text.remove()
    return False


def letters_box(annotation: Annotation) -> Bbox:
    """Around a label's letters without its line, in pixels."""
    annotation.get_window_extent()  # moves the letters to where they belong
    return Text.get_window_extent(annotation)


def _fits(axes: Axes, box: Bbox, point: np.ndarray, taken: _Taken, scale: float) -> bool:
    inside = axes.bbox.count_contains([box.min, box.max]) == 2
    own = box.get_points()[None]
    if not inside or _overlap(own, taken.fixed) or _overlap(own, taken.kept):
        return False
    # Points in the same place as its own are told apart by colour alone, wherever the label is.
    others = taken.points[np.hypot(*(taken.points - point).T) > MARKER_RADIUS * scale]
    beyond = np.maximum(0, np.maximum(box.min - others, others - box.max))
    return bool((np.hypot(*beyond.T) >= CLEARANCE * scale).all())


def _overlap(some: np.ndarray, others: np.ndarray) -> bool:
    """Whether any box is over another."""
    low, high = some[:, None, 0], some[:, None, 1]
    return bool(((low < others[:, 1]) & (others[:, 0] < high)).all(-1).any())


def _leader(point: np.ndarray, box: Bbox, scale: float) -> np.ndarray:
    """Pieces of the line from a point's marker to its label."""
    pieces = _pieces(point, box.get_points().mean(0), scale)
    away = np.hypot(*(pieces.mean(1) - point).T) > 2 * MARKER_RADIUS * scale
    outside = ((pieces[:, 1] < box.min) | (pieces[:, 0] > box.max)).any(1)
    return pieces[away & outside]


def _annotate(axes: Axes, label: Label, size: float, spot: Spot) -> Annotation:
    right, up = spot
    line = {"arrowstyle": "-", "linewidth": 0.5, "color": label.color, "shrinkA": 0, "shrinkB": 1}
    annotation = axes.annotate(
        label.text,
        (label.x, label.y),
        spot,
        textcoords="offset points",
        ha=_aligned(right, ("right", "center", "left")),
        va=_aligned(up, ("top", "center", "bottom")),
        fontsize=size,
        color=label.color,
        fontweight="bold" if label.bold else "normal",
        arrowprops=line if np.hypot(right, up) > 2 * NEAR else None,
    )
    annotation.set_in_layout(False)
    return annotation


def _aligned(offset: float, names: tuple[str, str, str]) -> str:
    """Of the names for less, none and more, the one for an offset in points."""
    less, none, more = names
    if abs(offset) < 1:
        return none
    return more if offset > 0 else less


def _look_around(axes: Axes, labels: list[Label]) -> _Taken:
    scale = axes.figure.dpi / 72
    legend = axes.get_legend()
    nothing = np.empty((0, 2, 2))
    fixed, lines = [legend.get_window_extent().get_points()[None] if legend else nothing], [nothing]
    for line in axes.get_lines():
        points = axes.transData.transform(line.get_xydata())
        fixed.append(_around(points, MARKER_RADIUS * scale))
        lines += [_pieces(start, end, scale) for start, end in pairwise(points)]
    own = axes.transData.transform([(label.x, label.y) for label in labels])
    return _Taken(own, np.concatenate(fixed), np.concatenate(lines))


def _pieces(start: np.ndarray, end: np.ndarray, scale: float) -> np.ndarray:
    """Boxes along a line."""
    steps = max(2, int(np.hypot(*(end - start)) / (STEP * scale)))
    return _around(np.linspace(start, end, steps), scale / 2)


def _around(points: np.ndarray, radius: float) -> np.ndarray:
    return np.stack([points - radius, points + radius], 1)
