"""Labels of points: all written, without overlap, and each clearly belongs to its point."""

from itertools import combinations

import numpy as np
import pytest
from matplotlib.figure import Figure

from rednet.figures.labels import CLEARANCE, NEAR_DISTANCE, Label, place_labels, text_box


@pytest.fixture
def make_axes():
    def make(points):
        axes = Figure(figsize=(3, 3)).subplots()
        axes.plot(*zip(*points, strict=True), "o-", markersize=3)
        axes.set(xlim=(0, 1), ylim=(0, 1))
        return axes

    return make


def distance(box, point):
    return np.hypot(*np.maximum(0, np.maximum(box.min - point, point - box.max)))


def test_labels_are_next_to_their_points_if_there_is_room(make_axes):
    points = [(0.2, 0.2), (0.5, 0.6), (0.8, 0.7)]
    axes = make_axes(points)
    place_labels(axes, [Label(*point, "26", "black") for point in points], 5)
    assert [text.xy for text in axes.texts] == points
    assert all(text.arrow_patch is None for text in axes.texts)


def test_crowded_labels_have_leader_lines(make_axes):
    points = [(0.5 + 0.03 * (index % 2), 0.5 + 0.03 * (index // 2)) for index in range(6)]
    axes = make_axes(points)
    labels = [Label(*point, str(10 + index), "black") for index, point in enumerate(points)]
    place_labels(axes, labels, 5)
    assert sorted(text.get_text() for text in axes.texts) == [label.text for label in labels]
    assert any(text.arrow_patch for text in axes.texts)
    boxes = [text_box(text) for text in axes.texts]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    for text, box in zip(axes.texts, boxes, strict=True):
        others = axes.transData.transform([point for point in points if point != text.xy])
        nearest = min(distance(box, other) for other in others)
        assert nearest >= CLEARANCE * axes.figure.dpi / 72
        own = distance(box, axes.transData.transform(text.xy))
        assert text.arrow_patch or own < NEAR_DISTANCE * 1.5 * axes.figure.dpi / 72


def test_a_label_without_room_is_an_error(make_axes):
    axes = make_axes([(0.5, 0.5)])
    with pytest.raises(ValueError, match=r"no room for the labels a very long .*one$"):
        place_labels(axes, [Label(0.5, 0.5, "a very long " * 10 + "one", "black")], 20)
