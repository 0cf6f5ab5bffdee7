"""Figures and their numbers as files."""

import csv

import pytest
from PIL import Image

from rednet.figures.envelopes import draw_envelope
from rednet.figures.style import save_figure, write_rows


@pytest.fixture
def saved(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    return [save_figure(draw_envelope("flops"), tmp_path / folder, "layer3.2") for folder in "ab"]


def test_the_same_figure_is_the_same_files(saved):
    first, second = ([path.read_bytes() for path in paths] for paths in saved)
    assert first == second
    assert b"dc:date" not in first[1]


def test_png_is_as_wide_as_a_page_in_print(saved):
    png, svg = saved[0]
    assert [png.name, svg.name] == ["layer3.2.png", "layer3.2.svg"]
    with Image.open(png) as image:
        assert (image.width, round(image.info["dpi"][0])) == (2070, 300)
    assert svg.read_text().startswith("<?xml")


def test_rows(tmp_path):
    path = write_rows([{"name": "a, b", "value": 1 / 3, "count": 12345678}], tmp_path / "t.csv")
    with path.open(newline="") as file:
        assert list(csv.DictReader(file)) == [
            {"name": "a, b", "value": "0.333333", "count": "12345678"}
        ]
