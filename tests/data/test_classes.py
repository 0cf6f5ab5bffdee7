"""The order of classes, and sources with another list of classes."""

import random
from pathlib import Path

import pytest
from timm.utils.misc import natural_key

from rednet.data import RelabelledSource, balanced_subset, classes_with_images, order_classes
from rednet.data.image_files import ImageFiles

SAMPLES = [("a/0.png", 0), ("a/1.png", 0), ("c/0.png", 2)]


def source():
    return ImageFiles(Path("root"), ["a", "b", "c"], SAMPLES)


@pytest.mark.parametrize(
    ("text", "natural"),
    [
        (["1", "10", "11", "2"], ["1", "2", "10", "11"]),
        (["class_1", "class_10", "class_9"], ["class_1", "class_9", "class_10"]),
        (["Zebra", "ant"], ["ant", "Zebra"]),
        (["1.5", "1.25"][::-1], ["1.5", "1.25"]),
        (["a1b2", "a1b10"][::-1], ["a1b2", "a1b10"]),
        (["v2", "v02x"][::-1], ["v2", "v02x"]),
    ],
)
def test_the_two_orders(text, natural):
    shuffled = random.Random(0).sample(text, len(text))
    assert order_classes(shuffled, "text") == text == sorted(text)
    assert order_classes(shuffled, "natural") == natural == sorted(text, key=natural_key)


@pytest.mark.parametrize("names", [["ant", "bee"], ["n01440764", "n02119789"], ["01", "02", "10"]])
def test_orders_that_agree(names):
    assert order_classes(names, "natural") == order_classes(names, "text") == names


@pytest.mark.parametrize(
    "names", [["Cat", "cat"], ["01", "1"], ["x²", "x1"][::-1], ["٣", "4"][::-1]]
)
def test_names_for_which_timm_has_no_order(names):
    """Equal keys depend on the order of a set there; some characters end its run."""
    assert sorted(order_classes(names, "natural")) == sorted(names)
    assert order_classes(names, "natural") == order_classes(names[::-1], "natural")


def test_a_source_with_another_list_of_classes():
    assert classes_with_images(source()) == ["a", "c"]
    relabelled = RelabelledSource(source(), ["c", "x", "a"])
    assert (relabelled.class_names, relabelled.targets) == (["c", "x", "a"], [2, 2, 0])
    assert [relabelled.name_of(index) for index in range(len(relabelled))] == [
        source().name_of(index) for index in range(3)
    ]
    subset = balanced_subset(relabelled, 2)
    assert (subset.targets, subset.relative_names.tolist()) == ([2, 0], [b"a/0.png", b"c/0.png"])


def test_a_class_with_images_must_be_in_the_list():
    with pytest.raises(AssertionError, match="a class with images is missing"):
        RelabelledSource(source(), ["a", "b"])
