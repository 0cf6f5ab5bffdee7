import pickle

import numpy as np
import pytest

from rednet.data import UnreadableImage, balanced_subset
from rednet.data.fashion_mnist import ArrayImages
from rednet.errors import InputError


def source_of(labels):
    images = np.arange(len(labels), dtype=np.uint8).repeat(4).reshape(-1, 2, 2)
    return ArrayImages("set", images, np.array(labels), ["a", "b", "c", "d"])


@pytest.mark.parametrize(
    ("labels", "n", "selected"),
    [
        ([0, 0, 0, 1, 1, 1], 4, [0, 1, 3, 4]),
        ([0, 0, 0, 1, 1, 1], 3, [0, 1, 3]),
        ([1, 1, 1, 0, 0, 0], 3, [0, 3, 4]),
        ([2, 0, 2, 2, 0, 2], 5, [0, 1, 2, 3, 4]),
        ([3, 3, 3, 3, 1], 4, [0, 1, 2, 4]),
        ([0, 1, 3], 1, [0]),
        ([0, 1, 3], 3, [0, 1, 2]),
    ],
)
def test_balanced_subset_takes_the_first_images_of_each_class_in_turn(labels, n, selected):
    subset = balanced_subset(source_of(labels), n)
    assert [subset.name_of(i) for i in range(len(subset))] == [f"set/{i}" for i in selected]
    assert list(subset.targets) == [labels[i] for i in selected]
    assert [subset.load(i).getpixel((0, 0)) for i in range(len(subset))] == selected
    assert subset.class_names == ["a", "b", "c", "d"]


@pytest.mark.parametrize("n", [0, 4])
def test_a_balanced_subset_of_an_impossible_size_is_an_input_error(n):
    with pytest.raises(InputError, match=f"^{n} samples requested: choose 1 to 3"):
        balanced_subset(source_of([0, 1, 2]), n)


def test_unreadable_image_keeps_name_and_reason_after_pickling():
    error = pickle.loads(pickle.dumps(UnreadableImage("a.png", "truncated")))
    assert (error.name, error.reason, str(error)) == ("a.png", "truncated", "a.png: truncated")
