"""The sets of images to evaluate networks of ImageNet with."""

import json
from importlib.resources import files

import numpy as np
import pytest

from rednet.config.data_effects import EVALUATION_SETS as NAMES
from rednet.data import imagenet_synsets
from rednet.data.imagenet_sets import (
    EVALUATION_SETS,
    counted_synsets,
    open_evaluation_set,
    real_labels,
)
from rednet.errors import InputError

TENCH, GOLDFISH, SHARK, HAMMERHEAD = (imagenet_synsets()[index] for index in (0, 1, 2, 4))


def samples(source):
    return [(source.relative_names[i].decode(), source.targets[i]) for i in range(len(source))]


def test_the_configuration_knows_all_sets():
    assert set(NAMES) == EVALUATION_SETS.keys()


@pytest.mark.parametrize(("name", "first"), [("imagenet_a", 6), ("imagenet_r", 1)])
def test_the_classes_of_a_part_of_imagenet(name, first):
    synsets = counted_synsets(name)
    assert len(synsets) == 200
    indices = [imagenet_synsets().index(synset) for synset in synsets]
    assert indices == sorted(indices)
    assert indices[0] == first
    text = (files("timm.data") / "_info" / f"{name}_indices.txt").read_text()
    assert indices == [int(line) for line in text.split()]


def test_folders_of_synsets_and_of_numbers(make_files):
    root = make_files(
        *(f"v2/imagenetv2-top-images-format-val/{name}/a.jpeg" for name in ("0", "999", "10", "4")),
        *(f"sketch/{name}/a.JPEG" for name in (TENCH, HAMMERHEAD)),
        *(f"r/imagenet-r/{name}/a.jpg" for name in (GOLDFISH, HAMMERHEAD)),
        "r/imagenet-r/README.txt",
    )
    for name, expected in (
        ("v2", [("0/a.jpeg", 0), ("10/a.jpeg", 10), ("4/a.jpeg", 4), ("999/a.jpeg", 999)]),
        ("sketch", [(f"{TENCH}/a.JPEG", 0), (f"{HAMMERHEAD}/a.JPEG", 4)]),
        ("r", [(f"{GOLDFISH}/a.jpg", 1), (f"{HAMMERHEAD}/a.jpg", 4)]),
    ):
        splits = open_evaluation_set(f"imagenet_{name}", str(root / name))
        assert samples(splits.val) == expected
        assert splits.val.class_names == list(imagenet_synsets())
        assert (splits.train, splits.test) == (None, None)
    assert splits.origins == {"val": str(root / "r/imagenet-r")}
    assert splits.notes[-1].startswith("warning: no ImageNet-R images of 198 classes: n")
    with pytest.raises(InputError, match=r"r has folders .* 200 classes of ImageNet-A, .*: n01443"):
        open_evaluation_set("imagenet_a", str(root / "r"))
    with pytest.raises(InputError, match=r" 1000 classes of ImageNet-V2, .* named n01440764 or 0"):
        open_evaluation_set("imagenet_v2", str(make_files("bad/1000/a.jpg", "bad/7/a.jpg") / "bad"))
    with pytest.raises(InputError, match=r"data folder .*missing cannot be read"):
        open_evaluation_set("imagenet_v2", str(root / "missing"))


def test_validation_images_with_real_labels(make_files):
    """Of the first five images, the first has none."""
    text = (files("timm.data") / "_info" / "imagenet_real_labels.json").read_text()
    expected = json.loads(text)[:5]
    names = [f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, 6)]
    root = make_files(*(f"val/{name}" for name in names))
    splits = open_evaluation_set("imagenet_real", str(root))
    assert [name for name, _ in samples(splits.val)] == names[1:]
    assert splits.notes[-1] == "left out, without a ReaL label: 1 image of 5"
    labels = real_labels(splits.val)
    assert [[each for each in row if each >= 0] for row in labels.tolist()] == expected[1:]
    nested = make_files(*(f"nested/val/{TENCH}/{name}" for name in names))
    splits = open_evaluation_set("imagenet_real", str(nested / "nested"))
    assert np.array_equal(real_labels(splits.val), labels)
    make_files(f"renamed/val/{TENCH}/1.JPEG", f"empty/val/{TENCH}/{names[0]}")
    for folder, line in (
        ("renamed", r"^1.JPEG is not among the 50,000 validation images of ImageNet: expected ILS"),
        ("empty", r"has no image with a ReaL label$"),
    ):
        with pytest.raises(InputError, match=line):
            open_evaluation_set("imagenet_real", str(root / folder))
