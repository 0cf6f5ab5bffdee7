"""Saving figures and their numbers."""

import csv

import pytest
from PIL import Image

from rednet.figures.envelopes import draw_envelope
from rednet.figures.style import format_number, format_range, save_figure, write_rows


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Return the files of one figure, drawn and saved twice."""
    folders = [tmp_path_factory.mktemp(name) for name in "ab"]
    return [save_figure(draw_envelope("flops"), folder, "layer3.2") for folder in folders]


def test_equal_figures_give_equal_files(saved):
    first, second = ([path.read_bytes() for path in paths] for paths in saved)
    assert first == second
    assert b"dc:date" not in first[1]


def test_the_png_is_as_wide_as_a_printed_column(saved):
    png, svg = saved[0]
    assert [png.name, svg.name] == ["layer3.2.png", "layer3.2.svg"]
    with Image.open(png) as image:
        assert (image.width, round(image.info["dpi"][0])) == (1005, 300)
    assert svg.read_text().startswith("<?xml")


def test_rows(tmp_path):
    path = write_rows([{"name": "a, b", "value": 1 / 3, "count": 12345678}], tmp_path / "t.csv")
    with path.open(newline="") as file:
        assert list(csv.DictReader(file)) == [
            {"name": "a, b", "value": "0.333333", "count": "12345678"}
        ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (104, "104"),
        (-1043.2, "-1043"),
        (9.96, "10.0"),
        (0.5, "0.50"),
        (0.00123, "0.0012"),
        (0, "0"),
        (3e-7, "3.0e-07"),
        (2.5e6, "2.5e+06"),
    ],
)
def test_numbers_have_two_digits_and_rarely_an_exponent(value, text):
    assert format_number(value) == text


@pytest.mark.parametrize(
    ("ends", "text"),
    [
        ((-0.123, 0.456), "-0.12 to 0.46"),
        ((1.021, 1.043), "1.021 to 1.043"),
        ((-12, 104), "-12 to 104"),
        ((-0.5, -0.001), "-0.50 to 0.00"),
        ((2.0, 2.0), "2.0 to 2.0"),
        ((0.0, 0.0), "0 to 0"),
        ((-3e6, 1.0), "-3.0e+06 to 1.0"),
    ],
)
def test_the_ends_of_a_range_differ(ends, text):
    assert format_range(*ends) == text
