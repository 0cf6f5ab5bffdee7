"""Labels for the points of a plot, placed so that they overlap nothing."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

# All lengths are in points, 1/72 inch.
NEAR_DISTANCE = 2.6
FAR_DISTANCES = (9, 12, 15, 19, 24, 30, 37, 45)
CLEARANCE = 5
MARKER_RADIUS = 1.8
SEGMENT_LENGTH = 1.5
LABEL_GAP = 5.0

Offset = tuple[float, float]
"""Position of a label relative to its point, right and up, in points."""

_SIDES = ((0, 1), (-1, 1), (1, -1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, -1))
_ANGLES = [np.pi * (0.5 + step / 8) for step in range(16)]

NEAR_OFFSETS: list[Offset] = [(NEAR_DISTANCE * right, NEAR_DISTANCE * up) for right, up in _SIDES]
FAR_OFFSETS: list[Offset] = [
    (distance * float(np.cos(angle)), distance * float(np.sin(angle)))
    for distance, angle in product(FAR_DISTANCES, _ANGLES)
]


@dataclass(frozen=True)
class Label:
    """The label of a point.

    Attributes:
        x: Horizontal position of the point in data coordinates.
        y: Vertical position of the point in data coordinates.
        text: Text of the label.
        color: Color of the text.
        bold: Whether the text is bold.
    """

    x: float
    y: float
    text: str
    color: str
    bold: bool = False


@dataclass
class _Occupied:
    """What the axes contain already, in pixels; boxes (n, 2, 2) hold lower left and upper right.

    Attributes:
        points: The points of all labels, (n, 2).
        boxes: Boxes around the legend, markers, labels and leader lines.
        label_free: Boxes that further labels must avoid, but their leader lines may cross.
    """

    points: np.ndarray
    boxes: np.ndarray
    label_free: np.ndarray

    def add(self, box: Bbox, gap: float, leader: np.ndarray) -> None:
        """Add a label, the gap around it, and its leader line."""
        self.boxes = np.concatenate([self.boxes, box.get_points()[None], leader])
        self.label_free = np.concatenate([self.label_free, box.padded(gap).get_points()[None]])


def place_labels(axes: Axes, labels: Iterable[Label], size: float) -> None:
    """Write labels so that they overlap nothing and are near no other label's point.

    A label that does not fit next to its point is placed further away and connected by a thin
    leader line. The lines, the legend and the limits of the axes must be final.

    Args:
        axes: The axes to write in.
        labels: The labels, most important first.
        size: Font size in points.

    Raises:
        ValueError: There is no room for a label.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # applies the layout before positions are measured
    labels = list(labels)
    occupied = _find_occupied(axes, labels)
    for offsets in (NEAR_OFFSETS, FAR_OFFSETS):
        labels = [label for label in labels if not _place(axes, label, size, offsets, occupied)]
    if labels:
        raise ValueError(f"no room for the labels {', '.join(label.text for label in labels)}")


def _place(
    axes: Axes, label: Label, size: float, offsets: list[Offset], occupied: _Occupied
) -> bool:
    """Write a label at the first offset that is free; return whether there is one."""
    scale = axes.figure.dpi / 72
    point = axes.transData.transform((label.x, label.y))
    extent = _extent(axes, label, size)
    for offset in offsets:
        box = _box_at(point + scale * np.array(offset), offset, extent)
        leader = _leader(point, box, scale)[: None if _has_leader(offset) else 0]
        if _fits(axes, box, point, occupied, scale) and not _overlap(leader, occupied.boxes):
            _annotate(axes, label, size, offset)
            occupied.add(box, LABEL_GAP * scale, leader)
            return True
    return False


def _extent(axes: Axes, label: Label, size: float) -> np.ndarray:
    """Return width and height of a label's text in pixels, (2,)."""
    text = _annotate(axes, label, size, NEAR_OFFSETS[0])
    extent = np.array(text_box(text).size)
    text.remove()
    return extent


def _box_at(anchor: np.ndarray, offset: Offset, extent: np.ndarray) -> Bbox:
    """Return the box of a text that lies on the offset's side of its anchor, in pixels."""
    fractions = {"left": 0, "bottom": 0, "center": 0.5, "right": 1, "top": 1}
    low = anchor - extent * [fractions[name] for name in _alignments(offset)]
    return Bbox([low, low + extent])


def text_box(annotation: Annotation) -> Bbox:
    """Return the box around a label's text without its leader line, in pixels."""
    annotation.get_window_extent()  # updates the position of the text
    return Text.get_window_extent(annotation)


def _fits(axes: Axes, box: Bbox, point: np.ndarray, occupied: _Occupied, scale: float) -> bool:
    is_inside = axes.bbox.count_contains([box.min, box.max]) == 2
    corners = box.get_points()[None]
    if not is_inside or _overlap(corners, occupied.boxes) or _overlap(corners, occupied.label_free):
        return False
    # Points at the same place as this one are left out: only colour can tell them apart.
    others = occupied.points[np.hypot(*(occupied.points - point).T) > MARKER_RADIUS * scale]
    distance = np.hypot(*np.maximum(0, np.maximum(box.min - others, others - box.max)).T)
    return bool((distance >= CLEARANCE * scale).all())


def _overlap(boxes: np.ndarray, others: np.ndarray) -> bool:
    """Return whether any box overlaps any other."""
    low, high = boxes[:, None, 0], boxes[:, None, 1]
    return bool(((low < others[:, 1]) & (others[:, 0] < high)).all(-1).any())


def _leader(point: np.ndarray, box: Bbox, scale: float) -> np.ndarray:
    """Return boxes along the line from a point's marker to its label."""
    segments = _segments(point, box.get_points().mean(0), scale)
    is_off_marker = np.hypot(*(segments.mean(1) - point).T) > 2 * MARKER_RADIUS * scale
    is_off_label = ((segments[:, 1] < box.min) | (segments[:, 0] > box.max)).any(1)
    return segments[is_off_marker & is_off_label]


def _annotate(axes: Axes, label: Label, size: float, offset: Offset) -> Annotation:
    horizontal, vertical = _alignments(offset)
    line = {"arrowstyle": "-", "linewidth": 0.5, "color": label.color, "shrinkA": 0, "shrinkB": 1}
    annotation = axes.annotate(
        label.text,
        (label.x, label.y),
        offset,
        textcoords="offset points",
        ha=horizontal,
        va=vertical,
        fontsize=size,
        color=label.color,
        fontweight="bold" if label.bold else "normal",
        arrowprops=line if _has_leader(offset) else None,
    )
    annotation.set_in_layout(False)
    return annotation


def _has_leader(offset: Offset) -> bool:
    return bool(np.hypot(*offset) > 2 * NEAR_DISTANCE)


def _alignments(offset: Offset) -> tuple[str, str]:
    """Return the horizontal and vertical alignment of a text at an offset."""
    right, up = offset
    return (
        _alignment(right, ("right", "center", "left")),
        _alignment(up, ("top", "center", "bottom")),
    )


def _alignment(offset: float, names: tuple[str, str, str]) -> str:
    """Select the name for a negative, zero or positive offset in points."""
    negative, zero, positive = names
    if abs(offset) < 1:
        return zero
    return positive if offset > 0 else negative


def _find_occupied(axes: Axes, labels: list[Label]) -> _Occupied:
    scale = axes.figure.dpi / 72
    legend = axes.get_legend()
    nothing = np.empty((0, 2, 2))
    boxes = [legend.get_window_extent().get_points()[None] if legend else nothing]
    lines = [nothing]
    for line in axes.get_lines():
        points = axes.transData.transform(line.get_xydata())
        boxes.append(_boxes_around(points, MARKER_RADIUS * scale))
        lines += [_segments(start, end, scale) for start, end in pairwise(points)]
    labelled = axes.transData.transform([(label.x, label.y) for label in labels])
    return _Occupied(labelled, np.concatenate(boxes), np.concatenate(lines))


def _segments(start: np.ndarray, end: np.ndarray, scale: float) -> np.ndarray:
    """Return boxes along a line."""
    count = max(2, int(np.hypot(*(end - start)) / (SEGMENT_LENGTH * scale)))
    return _boxes_around(np.linspace(start, end, count), scale / 2)


def _boxes_around(points: np.ndarray, radius: float) -> np.ndarray:
    return np.stack([points - radius, points + radius], 1)
