import pytest

from rednet.data.split_names import parse_split


@pytest.mark.parametrize(
    ("split", "names"),
    [
        ("train", "train Train TRAIN training Training trainset train_set train-set TrainSet"),
        ("train", "train_data traindata training_images ImagesTrain trainval train_val trn"),
        ("val", "val Val valid validation Validation val_set valset validset dev Dev devset"),
        ("val", "eval evaluation VAL_IMAGES development"),
        ("test", "test Test TEST testing Testing tests testset test_set TestData heldout"),
    ],
)
def test_a_name_of_a_split_in_any_spelling(split, names):
    for name in names.split():
        assert parse_split(name) == (split, "")
    assert parse_split("Data Set (train)") == ("train", "")


@pytest.mark.parametrize(
    ("name", "parsed"),
    [
        ("seg_train", ("train", "seg")),
        ("asl_alphabet_test", ("test", "asl alphabet")),
        ("train2017", ("train", "2017")),
        ("ILSVRC2012_img_val", ("val", "ilsvrc 2012")),
        ("test-multiple_fruits", ("test", "multiple fruits")),
        ("\uff34rain", ("train", "")),  # full-width T
    ],
)
def test_other_words_of_a_name_are_kept_to_match_splits(name, parsed):
    assert parse_split(name) == parsed


@pytest.mark.parametrize(
    "name", ["cat", "trains", "contest", "latest", "devil", "strain", "val_test", "0", "_"]
)
def test_other_names_are_no_splits(name):
    assert parse_split(name) is None
    assert parse_split("train_test_split") is None
