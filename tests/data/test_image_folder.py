import contextlib
import os
import re
from pathlib import Path

import pytest

from rednet.data import open_image_folder
from rednet.errors import InputError


def names(source):
    return [Path(source.name_of(i)).name for i in range(len(source))]


def many(name, n):
    return [f"{name}/{i:02d}.png" for i in range(n)]


@pytest.mark.parametrize("val", ["val", "valid", "validation", "test"])
def test_the_validation_folder_can_have_any_usual_name(make_images, val):
    root = make_images(
        "train/dog/1.png", "train/cat/x/y/2.png", "train/ant/3.png", f"{val}/dog/4.png"
    )
    splits = open_image_folder(root, val_fraction=0.1, seed=0)
    assert splits.train.class_names == splits.val.class_names == ["ant", "cat", "dog"]
    assert (names(splits.train), splits.train.targets) == (["3.png", "2.png", "1.png"], [0, 1, 2])
    assert (names(splits.val), splits.val.targets) == (["4.png"], [2])


def test_val_is_preferred_over_test(make_images):
    root = make_images("train/a/1.png", "train/b/1.png", "val/a/2.png", "Test/a/3.png")
    splits = open_image_folder(root, val_fraction=0.1, seed=0)
    assert (names(splits.val), names(splits.test)) == (["2.png"], ["3.png"])
    folders = {"train": "train", "val": "val", "test": "Test"}
    assert splits.origins == {split: f"{root}/{name}" for split, name in folders.items()}


def test_the_only_test_images_are_the_validation_images_too(make_images):
    root = make_images("train/a/1.png", "train/b/1.png", "test/a/2.png", "test/b/2.png")
    splits = open_image_folder(root, val_fraction=0.1, seed=0)
    assert splits.val is splits.test
    assert splits.origins["val"] == splits.origins["test"] == f"{root}/test"


def test_classes_that_no_validation_image_has_are_named(make_images):
    root = make_images(
        "train/a/1.png", "train/b/1.png", "dev/a/2.png", "test/C/2.png", "test/D/3.png"
    )
    splits = open_image_folder(root, val_fraction=0.1, seed=0)
    assert splits.test is None
    assert splits.notes == ("warning: no validation images of 1 class: b",)
    reason = f"classes in {root}/test that the training images lack: C, D"
    assert splits.unused == {"test": reason}


@pytest.mark.parametrize(
    ("files", "note"),
    [
        (("Cat/1.png", "cat/2.png", "dog/3.png"), "classes Cat, cat in .* differ only in case or"),
        (("a b/1.png", "a_b/2.png"), "classes a b, a_b in .* differ only in case or spaces"),
        (("cat/1.png", "Images/2.png"), "taken for a class: Images"),
        (("cat/1.png", "dog/1.png", "test/2.png"), "taken for a class: test"),
        (("x/cat/1.png", "y/cat/1.png"), "each class in .* has folders named cat: .* one of x, y"),
        (("x/images/1.png", "y/images/1.png"), None),
        (
            ("x/images/cat/1.png", "y/images/cat/1.png"),
            "each class in .* has folders named images/",
        ),
        (("ham_images_1/1.png", "ham_images_2/1.png"), "taken for classes: ham_images_1, ham_im"),
        (("fold 1/1.png", "fold 2/1.png"), "taken for classes: fold 1, fold 2"),
        (("class1/1.png", "class2/1.png"), None),
    ],
)
def test_classes_that_are_unlikely_to_be_meant_are_a_warning(make_images, files, note):
    root = make_images(*files)
    notes = open_image_folder(root, val_fraction=1, seed=0).notes
    assert len(notes) == (note is not None)
    assert all(re.match(f"warning: {note}", line) for line in notes)


def test_validation_folders_that_lead_to_the_training_images_are_refused(make_images, tmp_path):
    root = make_images("train/a/1.png", "train/b/1.png")
    (tmp_path / "val").mkdir()
    for name in ("a", "b"):
        (tmp_path / "val" / name).symlink_to(f"../train/{name}")
    with pytest.raises(InputError, match=r"links in .*/val to folders .* read elsewhere: a, b$"):
        open_image_folder(root, val_fraction=0.1, seed=0)


def test_one_class_in_two_forms_of_unicode(make_images):
    root = make_images("train/a\u0301/1.png", "train/b/1.png", "val/\u00e1/2.png")
    splits = open_image_folder(root, val_fraction=0.1, seed=0)
    assert splits.val.class_names == ["\u00e1", "b"]
    assert splits.val.targets == [0]
    make_images("train/\u00e1/1.png")
    with pytest.raises(InputError, match=r"different Unicode forms: 'a\\u0301', '\\xe1'"):
        open_image_folder(root, val_fraction=0.1, seed=0)


@pytest.mark.parametrize("inside", ["", "train/"])
@pytest.mark.parametrize(
    ("fraction", "counts"),
    [(0.1, (1, 1, 0)), (0.25, (2, 1, 0)), (0.9, (9, 1, 0)), (0.999, (9, 1, 0))],
)
def test_split_is_stratified(make_images, inside, fraction, counts):
    sizes = {"a": 10, "b": 2, "c": 1}
    root = make_images(*[file for name, n in sizes.items() for file in many(inside + name, n)])
    splits = open_image_folder(root, val_fraction=fraction, seed=0)
    assert tuple(splits.val.targets.count(i) for i in range(3)) == counts
    remaining = tuple(n - k for n, k in zip(sizes.values(), counts, strict=True))
    assert tuple(splits.train.targets.count(i) for i in range(3)) == remaining
    paths = [s.name_of(i) for s in (splits.train, splits.val) for i in range(len(s))]
    assert len(set(paths)) == 13
    assert splits.train.class_names == splits.val.class_names == ["a", "b", "c"]


def test_split_depends_on_the_seed_but_not_on_the_listing_order(make_images, monkeypatch):
    root = make_images(*many("a", 30), *many("b", 30))
    first, other = (open_image_folder(root, val_fraction=0.3, seed=s).val for s in (1, 2))
    assert names(first) != names(other)
    real_scandir, listed = os.scandir, []

    def reversed_scandir(path):
        with real_scandir(path) as entries:
            listed.append(path)
            return contextlib.nullcontext(sorted(entries, key=lambda e: e.name, reverse=True))

    monkeypatch.setattr(os, "scandir", reversed_scandir)
    assert names(open_image_folder(root, val_fraction=0.3, seed=1).val) == names(first)
    assert {f"{root}/a", f"{root}/b"} <= set(listed)


def test_an_image_added_later_moves_at_most_one_other(make_images):
    root = make_images(*many("a", 30), *many("b", 2))
    before = names(open_image_folder(root, val_fraction=0.3, seed=1).val)
    make_images("a/late.png")
    after = names(open_image_folder(root, val_fraction=0.3, seed=1).val)
    assert len(set(before) - set(after)) <= 1


def test_one_image_in_each_class_leaves_none_to_validate_with(make_images):
    splits = open_image_folder(make_images("a/1.png", "b/2.png"), val_fraction=0.5, seed=0)
    assert (splits.train.targets, splits.val, splits.whole.targets) == ([0, 1], None, [0, 1])


def test_fraction_1_uses_all_images_for_validation(make_images):
    root = make_images(*many("a", 3), *many("b", 1))
    splits = open_image_folder(root, val_fraction=1, seed=0)
    assert splits.train is None
    assert splits.val.targets == [0, 0, 0, 1]


def test_a_root_with_only_a_validation_folder_has_no_training_split(make_images):
    splits = open_image_folder(make_images("val/a/1.png", "val/b/2.png"), val_fraction=0.1, seed=0)
    assert splits.train is None
    assert (splits.val.class_names, splits.val.targets) == (["a", "b"], [0, 1])


def test_a_class_can_be_named_train(make_images):
    root = make_images(*many("bus", 2), *many("train", 2))
    assert open_image_folder(root, val_fraction=0.5, seed=0).train.class_names == ["bus", "train"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((), "is empty: expected .*/<class>/<image>"),
        (("1.png", "2.png"), "has no class folders"),
        (("train/1.png", "val/a/2.png"), "train has no class folders"),
        (("cat/1.png", "train/2.png", "test/3.png"), "train has no class folders"),
        (
            ("train/a/1.png", "train/d/1.png", "val/b/2.png", "val/c/2.png"),
            "classes in .*val that the training images lack: b, c",
        ),
        (("cat/1.png", "cat/2.png"), "has a single class, cat: expected a folder for each of two"),
        (("train/cat/1.png", "val/cat/2.png"), "train has a single class, cat"),
        (("photos/1.png", "Masks/1.png"), "has no folders of classes, only Masks, photos"),
        (
            ("a/train/x/1.png", "a/val/x/1.png", "b/train/y/1.png", "b/val/y/1.png"),
            "a is no class: .*/a holds train, val; give data.root=.*/a$",
        ),
        (
            ("a/b/train/x/1.png", "a/b/val/x/1.png", "c/1.png"),
            "a is no class: .*/a/b holds train, val; give data.root=.*/a/b$",
        ),
    ],
)
def test_wrong_folders_are_named(make_images, files, message):
    with pytest.raises(InputError, match=message):
        open_image_folder(make_images(*files), val_fraction=0.1, seed=0)


def test_missing_folders_and_classes_without_images_are_named(make_images, tmp_path):
    with pytest.raises(InputError, match="nowhere cannot be read"):
        open_image_folder(str(tmp_path / "nowhere"), val_fraction=0.1, seed=0)
    make_images("cat/1.png", "cat/2.png")
    (tmp_path / "dog").mkdir()
    with pytest.raises(InputError, match=r"class folders without images in .*: dog \(no files\);"):
        open_image_folder(str(tmp_path), val_fraction=0.1, seed=0)
