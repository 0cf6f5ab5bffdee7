import os

import pytest

from rednet.data.folder_layout import find_class_folders, find_layout
from rednet.data.folder_reader import FolderReader
from rednet.errors import InputError


def classes(folder, names="cat dog"):
    return [f"{folder}{name}/1.jpg" for name in names.split()]


def find(root, **options):
    """Return the folders of the splits, or of the classes, relative to the root; and the reader."""
    reader = FolderReader()
    layout = find_layout(root, reader, **options)
    folders = find_class_folders(layout.splits, reader) or {"all": layout.folder}
    return {split: os.path.relpath(path, root) for split, path in folders.items()}, reader


@pytest.mark.parametrize(
    ("train", "other", "split"),
    [
        ("Training", "Testing", "test"),
        ("Train", "Val", "val"),
        ("train", "dev", "val"),
        ("train", "Test", "test"),
        ("TRAIN", "eval", "val"),
        ("trainset", "val", "val"),
        ("train_set", "test_set", "test"),
        ("seg_train", "seg_test", "test"),
        ("train2017", "val2017", "val"),
        ("Training Set", "Validation Set", "val"),
        ("asl_alphabet_train", "asl_test", "test"),
    ],
)
def test_splits_are_recognised_by_name(make_files, train, other, split):
    root = make_files(*classes(f"{train}/"), *classes(f"{other}/"))
    assert find(root)[0] == {"train": train, split: other}


@pytest.mark.parametrize(
    ("folders", "found"),
    [
        ("training validation evaluation", "train val test"),
        ("seg_train seg_test val", "train test val"),
        ("train valid test_a test_b", "train val"),
        ("trainingSet testSet trainingSample", "train test"),
    ],
)
def test_a_third_folder_is_the_split_that_is_missing(make_files, folders, found):
    root = make_files(*[file for name in folders.split() for file in classes(f"{name}/")])
    assert find(root)[0] == dict(zip(found.split(), folders.split(), strict=False))


@pytest.mark.parametrize(
    "files",
    [
        ["train2017/1.jpg", "val2017/2.jpg", "annotations/a.json"],
        ["train_images/1.jpg", "test_images/1.jpg", "train.csv"],
        ["x_train/1.jpg", "x_test/1.jpg", "cat/1.jpg"],
    ],
)
def test_a_pair_of_names_is_never_a_pair_of_classes(make_files, files):
    found, _ = find(make_files(*files))
    assert found["train"] == os.path.dirname(files[0])


def test_a_test_folder_besides_the_validation_folder_is_a_third_split(make_files):
    root = make_files(*classes("Train/"), *classes("Valid/"), *classes("Test/"))
    assert find(root)[0] == {"train": "Train", "val": "Valid", "test": "Test"}


@pytest.mark.parametrize(
    ("files", "folders", "stepped"),
    [
        (classes("flowers/"), {"all": "flowers"}, ["flowers"]),
        (classes("a/b/"), {"all": "a/b"}, ["a", "a/b"]),
        (classes("data/train/") + classes("data/val/"), "data/train data/val", ["data"]),
        (classes("x/train/") + classes("x/val/") + ["notes/x.xml"], "x/train x/val", ["x"]),
        (
            classes("seg_train/seg_train/") + classes("seg_val/seg_val/") + ["seg_pred/1.jpg"],
            "seg_train/seg_train seg_val/seg_val",
            ["seg_train/seg_train", "seg_val/seg_val"],
        ),
        (
            classes("train_val/train/") + classes("train_val/val/"),
            "train_val/train train_val/val",
            ["train_val"],
        ),
        ([*classes("a/"), "__MACOSX/a/cat/._1.jpg"], {"all": "a"}, ["a"]),
        (classes("train/"), {"train": "train"}, []),
        (classes(""), {"all": "."}, []),
        (["cat/1.jpg", "notes/a.xml"], {"all": "."}, []),
    ],
)
def test_a_lone_folder_around_the_data_is_stepped_into_and_said(
    make_files, files, folders, stepped
):
    root = make_files(*files)
    if isinstance(folders, str):
        folders = dict(zip(("train", "val"), folders.split(), strict=True))
    found, reader = find(root)
    assert found == folders
    assert [note.split(" is read: ")[0] for note in reader.notes] == [
        f"{root}/{s}" for s in stepped
    ]


@pytest.mark.parametrize(
    "files",
    [
        ["bus/1.jpg", "train/1.jpg"],
        ["bullet_train/1.jpg", "tank/1.jpg", "test_tube/1.jpg"],
        ["test1/1.jpg", "test2/1.jpg"],
        ["Dev Patel/1.jpg", "Emma Watson/1.jpg"],
    ],
)
def test_classes_can_be_named_like_splits(make_files, files):
    assert find(make_files(*files))[0] == {"all": "."}


def test_folders_beside_the_splits_are_passed_over(make_files):
    root = make_files(
        *(*classes("Training/"), *classes("Test/"), "1.png"),
        *("test-multiple_fruits/1.jpg", "papers/a.pdf"),
    )
    found, reader = find(root)
    assert found == {"train": "Training", "test": "Test"}
    passed = {os.path.relpath(item.path, root) for item in reader.not_read.items}
    assert passed == {"test-multiple_fruits", "papers", "1.png"}


@pytest.mark.parametrize("test", ["Test/1.jpg", "Test/Test/1.jpg"])
def test_test_images_without_labels_are_left_out(make_files, test):
    root = make_files(*classes("Train/"), test, "Meta/1.png")
    found, reader = find(root)
    assert found == {"train": "Train"}
    assert reader.unused == {"test": f"{root}/Test has no folders of these classes"}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            classes("Train/") + classes("train/") + classes("val/"),
            "has several folders of training images: Train, train; rename or move all but one",
        ),
        (classes("train/") + classes("val/") + classes("dev/"), "of validation images: dev, val;"),
        (
            classes("train14/") + classes("val14/") + classes("train17/") + classes("val17/"),
            "of training images: train14, train17;",
        ),
        (
            ["bus/1.jpg", "car/1.jpg", *classes("train/", "steam diesel")],
            "train is named like the training images, bus, car like classes: .*=.*/train to read",
        ),
        (classes("learn/") + classes("test/"), "test is named like the test images, learn like"),
        ([*classes("train/"), "val -> train"], "train, val are the same folder through a link"),
    ],
)
def test_what_is_not_clear_is_refused(make_files, files, message):
    with pytest.raises(InputError, match=message):
        find(make_files(*files))


def test_a_link_beside_its_folder_is_no_second_split(make_files):
    root = make_files(*classes("train/"), *classes("val/"), "valid -> val", "loop -> .")
    assert find(root)[0] == {"train": "train", "val": "val"}
