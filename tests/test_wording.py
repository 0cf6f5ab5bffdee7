import os

import pytest

from rednet.wording import count, format_rate, join_names, printable


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (1, "epoch", "1 epoch"),
        (0, "epoch", "0 epochs"),
        (2, "epoch", "2 epochs"),
        (1281167, "image", "1281167 images"),
        (1, "class", "1 class"),
        (10, "class", "10 classes"),
        (1.0, "epoch", "1 epoch"),
        (0.5, "epoch", "0.5 epochs"),
        (100 / 3, "epoch", "33.3333 epochs"),
    ],
)
def test_a_number_with_its_noun(number, noun, text):
    assert count(number, noun) == text


def test_a_slow_rate_has_decimals():
    assert [format_rate(rate) for rate in (0, 0.416, 0.996, 8.12, 9.96, 1234.5)] == [
        *("0.00", "0.42", "1.0", "8.1", "10", "1234")
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"plain name.jpg", "plain name.jpg"),
        ("Bärenklau 猫 🐈".encode(), "Bärenklau 猫 🐈"),
        ("👩\u200d🔬".encode(), "👩\u200d🔬"),
        (b"x\xe9.jpg", r"x\xe9.jpg"),
        (b"\xff\xfe", r"\xff\xfe"),
        (b"\x1b[31mred\x1b]0;title\x07", r"\x1b[31mred\x1b]0;title\x07"),
        (b"two\nlines\r\tand a tab\x7f", r"two\nlines\r\tand a tab\x7f"),
        ("\u202egpj.exe \u2028\x9b\ufeff".encode(), r"\u202egpj.exe \u2028\x9b\ufeff"),
    ],
)
def test_foreign_names_are_printable(name, text):
    assert printable(os.fsdecode(name)) == text
    assert printable(name.decode("ascii", "surrogateescape")) == text  # in the C locale
    assert printable(text) == text
    text.encode()


def test_long_lists_of_names_are_shortened():
    assert join_names([*"abcde"]) == "a, b, c, d, e"
    assert join_names([*"abcdefg"]) == "a, b, c, d, e and 2 more"
    assert join_names(["\x1b[0m"]) == r"\x1b[0m"
