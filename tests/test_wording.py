import pytest

from rednet.wording import count


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
