"""The envelopes show every published network, and their labels do not overlap."""

from itertools import combinations

import numpy as np
import pytest

from rednet.figures.envelopes import AXES, RELEASED, draw_envelope, published_rows
from rednet.figures.labels import text_box
from rednet.paper.published import COMPETITORS, MODEL_ZOO, PAPER, RESNET


@pytest.fixture(scope="module", params=AXES)
def against(request):
    return request.param


@pytest.fixture(scope="module")
def figure(against):
    return draw_envelope(against)


def test_every_published_network_is_a_row():
    table = {(row["family"], row["size"]): row for row in published_rows()}
    count = len(PAPER) + len(MODEL_ZOO) + len(RESNET) + sum(len(c.sizes) for c in COMPETITORS)
    assert len(table) == count
    assert table["RedNet", "50"]["parameters_m"] == 15.5
    assert table["RedNet, released weights", "101"]["flops_g"] == 4.74
    assert table["ResNet", "152"]["top1"] == 79.3
    assert table["SAN, patchwise", "19"]["parameters_m"] == 20.5
    assert {row["source"] for row in table.values()} == {"published"}
    assert "2.85 G" in table["Stand-alone attention, conv stem", "38"]["note"]
    assert sum(bool(row["note"]) for row in table.values()) == 2


def test_every_network_is_a_point(figure, against):
    (axes,) = figure.axes
    key = {"flops": "flops_g", "parameters": "parameters_m"}[against]
    points = {tuple(point) for line in axes.get_lines() for point in line.get_xydata().tolist()}
    assert points == {(row[key], row["top1"]) for row in published_rows()}
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert sorted(names) == sorted({row["family"] for row in published_rows()})
    low, high = axes.get_ylim()
    assert all(low < row["top1"] < high for row in published_rows())


def test_every_network_has_an_unambiguous_label(figure, against):
    (axes,) = figure.axes
    key = {"flops": "flops_g", "parameters": "parameters_m"}[against]
    expected = [
        (row["size"], row[key], row["top1"])
        for row in published_rows()
        if row["family"] != RELEASED
    ]
    assert sorted((text.get_text(), *text.xy) for text in axes.texts) == sorted(expected)
    points = axes.transData.transform([point for _, *point in expected])
    for text in axes.texts:
        box, own = text_box(text), axes.transData.transform(text.xy)
        distance = np.hypot(*np.maximum(0, np.maximum(box.min - points, points - box.max)).T)
        others = np.hypot(*(points - own).T) > 3
        assert text.arrow_patch or distance[~others].min() < 0.8 * distance[others].min()


def test_labels_overlap_neither_each_other_nor_the_legend(figure):
    figure.draw_without_rendering()
    (axes,) = figure.axes
    boxes = [text_box(text) for text in axes.texts]
    boxes.append(axes.get_legend().get_window_extent())
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


def test_the_note_says_that_the_results_are_published(figure, against):
    assert "published results" in figure.get_supxlabel()
    assert ("2.85 G in its paper" in figure.get_supxlabel()) == (against == "flops")
    figure.draw_without_rendering()
    note = figure.texts[0].get_window_extent()
    assert figure.bbox.x0 < note.x0 and note.x1 < figure.bbox.x1 - 0.05 * figure.dpi
