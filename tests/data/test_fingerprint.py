"""The fingerprint of a data set: its images and classes, and nothing else."""

import os
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rednet.data import (
    balanced_subset,
    count_sampled,
    describe_splits,
    fingerprint,
    open_fashion_mnist,
    open_image_folder,
)
from rednet.data.fashion_mnist import ArrayImages
from rednet.data.image_files import ImageFiles

IMAGES = ("cat/0.png", "cat/b/1.png", "dog/0.png", "dog/1.png")


def of_files(*samples, root="root", classes=("cat", "dog")):
    return fingerprint(ImageFiles(Path(root), list(classes), samples))


def of_folder(root):
    return describe_splits("image_folder", open_image_folder(root, val_fraction=0.5, seed=1))


REFERENCE = (("cat/0.png", 0), ("cat/1.png", 0), ("dog/0.png", 1))


def test_root_and_order_have_no_effect():
    expected = of_files(*REFERENCE)
    assert of_files(*reversed(REFERENCE), root="elsewhere") == expected
    renumbered = (("dog/0.png", 0), ("cat/0.png", 1), ("cat/1.png", 1))
    assert of_files(*renumbered, classes=("dog", "cat")) == expected
    assert of_files(*REFERENCE, classes=("cat", "dog", "a class without images")) == expected


@pytest.mark.parametrize(
    ("samples", "classes"),
    [
        (REFERENCE[:2], ("cat", "dog")),
        ((*REFERENCE, ("dog/1.png", 1)), ("cat", "dog")),
        ((("cat/2.png", 0), *REFERENCE[1:]), ("cat", "dog")),
        ((("cat/0.png", 1), *REFERENCE[1:]), ("cat", "dog")),
        (REFERENCE, ("cats", "dog")),
        (REFERENCE, ("dog", "cat")),
    ],
    ids=["removed", "added", "renamed", "another class", "a renamed class", "classes exchanged"],
)
def test_another_image_or_class_is_another_fingerprint(samples, classes):
    assert of_files(*samples, classes=classes) != of_files(*REFERENCE)


def test_names_in_any_encoding():
    names = [os.fsdecode(name) for name in (b"fianc\xe9e/\xff.png", "日本/1.png".encode())]
    classes = [os.path.dirname(name) for name in names]
    assert of_files((names[0], 0), (names[1], 1), classes=classes) != of_files(*REFERENCE)


def test_names_that_a_file_system_decomposes(make_images):
    names = [f"{name}/{number}.png" for name in ("cat", "M\u00fcnchen") for number in range(9)]
    root = make_images(*(f"here/{name}" for name in names))
    make_images(*(f"there/{unicodedata.normalize('NFD', name)}" for name in names))
    assert sorted(os.listdir(f"{root}/here")) != sorted(os.listdir(f"{root}/there"))
    assert of_folder(f"{root}/there") == of_folder(f"{root}/here")


def test_a_folder_that_was_moved(make_images, tmp_path):
    root = make_images(*(f"here/{name}" for name in IMAGES))
    before = of_folder(f"{root}/here")
    shutil.copytree(f"{root}/here", f"{root}/there")
    assert of_folder(f"{root}/there") == before
    assert before["train"]["fingerprint"] != before["val"]["fingerprint"]
    Image.new("L", (4, 4)).save(tmp_path / "there/dog/2.png")
    assert of_folder(f"{root}/there") != before


def test_a_few_training_images_are_known_by_their_contents(make_images, tmp_path):
    names = [f"{name}/{number}.png" for name in ("cat", "dog") for number in range(20)]
    root = make_images(*(f"here/{name}" for name in names))
    splits = open_image_folder(f"{root}/here", val_fraction=0.25, seed=1)
    sample = describe_splits("image_folder", splits)["sample"]
    assert len(sample) == 16
    assert count_sampled(splits.train, sample) == count_sampled(splits.whole, sample) == 16
    assert count_sampled(splits.val, sample) == 0
    make_images(*(f"there/{name}" for name in reversed(names)))
    other = open_image_folder(f"{root}/there", val_fraction=0.25, seed=1)
    assert fingerprint(other.train) == fingerprint(splits.train)
    assert count_sampled(other.whole, sample) == 0
    for name in names[::2]:
        (tmp_path / "here" / name).unlink()
    assert 0 < count_sampled(splits.whole, sample) < 16
    assert len(describe_splits("image_folder", splits)["sample"]) < 16


def test_the_halves_are_described_before_a_subset_is_taken(fashion_mnist):
    subset = balanced_subset(fashion_mnist.train, 20)
    description = describe_splits("fashion_mnist", type(fashion_mnist)(subset, fashion_mnist.val))
    assert description["name"] == "fashion_mnist"
    assert (description["train"]["samples"], description["val"]["samples"]) == (10_000, 2_000)
    assert description["train"]["fingerprint"] == fingerprint(fashion_mnist.train)
    assert fingerprint(subset) != fingerprint(fashion_mnist.train)


def test_arrays_differ_by_split_and_labels():
    splits = open_fashion_mnist()
    images, labels = splits.val.images[:4], np.array([0, 1, 2, 3])
    names = splits.val.class_names
    first, same, other_split, other_labels = (
        fingerprint(ArrayImages(split, images, np.array(values), names))
        for split, values in (
            ("fashion_mnist/test", labels),
            ("fashion_mnist/test", labels),
            ("fashion_mnist/train", labels),
            ("fashion_mnist/test", labels[::-1]),
        )
    )
    assert first == same
    assert len({first, other_split, other_labels}) == 3
