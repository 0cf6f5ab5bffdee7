"""When a published number counts as reproduced, and the verdict otherwise."""

from decimal import Decimal

import pytest

from rednet.paper.comparison import (
    Comparison,
    format_difference,
    format_number,
    to_billions,
    to_millions,
)


def compare(published, ours):
    ours = None if ours is None else Decimal(ours)
    return Comparison("RedNet-50", "FLOPs", "paper", published, ours)


@pytest.mark.parametrize(
    ("published", "ours", "verdict"),
    [
        ("2.71", "2.713184", "reproduced"),
        ("2.71", "2.705", "reproduced"),
        ("2.71", "2.715", "differs by +0.0050"),
        ("2.71", "2.7049", "differs by -0.0051"),
        ("2.7", "2.65", "reproduced"),
        ("25.6", "25.6537", "differs by +0.0537"),
        ("1040", "1040", "reproduced"),
        (None, "2.7", "not published"),
        ("2.7", None, "not measured"),
    ],
)
def test_verdicts(published, ours, verdict):
    item = compare(published, ours)
    assert item.verdict == verdict
    assert item.is_reproduced == (verdict == "reproduced")


def test_a_difference_needs_both_numbers():
    assert compare("2.7", "2.713184").difference == Decimal("0.013184")
    assert compare(None, "2.7").difference is None
    assert compare("2.7", None).difference is None


def test_conversion_keeps_all_digits():
    assert str(to_millions(15_541_526)) == "15.541526"
    assert str(to_billions(2_713_184_096)) == "2.713184096"


def test_numbers_as_table_cells():
    numbers = format_number(Decimal("2.71318")), format_number(None), format_number(Decimal(3), 1)
    assert numbers == ("2.7132", "-", "3.0")
    differences = [format_difference(value) for value in (Decimal("0.1"), Decimal("-0.1"), None)]
    assert differences == ["+0.1000", "-0.1000", "-"]


def test_units():
    assert Comparison("a", "top-1", "", None, None).unit == "%"
    assert Comparison("a", "weights", "formula", "3", None).unit == ""
