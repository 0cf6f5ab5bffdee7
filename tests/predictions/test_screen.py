"""The table of predictions on the screen."""

import pytest

from rednet.data import imagenet_synsets
from rednet.predictions.rows import ClassLabels, Row
from rednet.predictions.screen import MAX_ROWS, ScreenTable
from rednet.wording import text_width

LABELS = ClassLabels(["Katze", "\u732b\u732b", "a very long name of a class", "dog"])


def table(*rows, labels=LABELS):
    screen = ScreenTable(labels)
    screen.add(rows)
    return screen


def row(path="a.jpg", classes=(0, 1, 2), probabilities=(0.91, 0.05, 0.04), **others):
    return Row(0, path, classes, probabilities, **others)


def test_columns_are_aligned_also_with_wide_characters():
    lines = table(row(), row("folder/b.jpg", (1, 0, 3), (0.5, 0.3, 0.1))).lines(None)
    assert lines == [
        "image         prediction    second        third",
        "a.jpg         Katze 91.0 %  \u732b\u732b 5.0 %    a very long name of a class 4.0 %",
        "folder/b.jpg  \u732b\u732b 50.0 %   Katze 30.0 %  dog 10.0 %",
    ]
    starts = [text_width(line[: line.index("Katze")]) for line in lines[1:]]
    assert starts == [14, 28]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_lines_fit_the_terminal(width):
    long = "/a/long/path/" * 9 + "last.jpg"
    lines = table(row(long), row(classes=(2, 1, 0))).lines(width)
    assert max(map(text_width, lines)) <= width
    assert "last.jpg" in lines[1] and lines[1].startswith("...")
    assert "91.0 %" in lines[1] and "91.0 %" in lines[2]
    assert ("third" in lines[0]) == (width >= 80)


def test_further_rows_are_counted():
    screen = table(*[row(f"{index}.jpg") for index in range(MAX_ROWS - 1)])
    assert len(screen.lines(None)) == MAX_ROWS
    screen.add([row(reason="broken", classes=(), probabilities=()), row("x.jpg"), row(), row()])
    assert len(screen.rows) == MAX_ROWS
    assert screen.lines(None)[-2].startswith("x.jpg ")
    assert screen.lines(None)[-1] == "... and 2 more"


def test_nothing_to_show():
    assert table(row(reason="broken", classes=(), probabilities=())).lines(80) == []


def test_two_classes_and_names_that_no_terminal_can_take():
    lines = table(row("x\x1b[31m.jpg", (0, 3), (0.6, 0.4))).lines(80)
    assert lines[0].split() == ["image", "prediction", "second"]
    assert lines[1].startswith(r"x\x1b[31m.jpg  Katze 60.0 %")


def test_english_names_that_two_classes_share_have_their_synset():
    labels = ClassLabels(imagenet_synsets())
    shared = [label for label in labels.shown if label.startswith("sunglasses")]
    assert shared == ["sunglasses (n04355933)", "sunglasses (n04356056)"]
    assert labels.shown[0] == "tench" and len(set(labels.shown)) == 1000
    assert ClassLabels(["cat", "cat"]).shown == ["cat", "cat"]
