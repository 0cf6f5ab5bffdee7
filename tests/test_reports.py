"""The files and the summary of an evaluation."""

import csv
import json

import pytest
import torch
from PIL import Image

from rednet.evaluation import Evaluation
from rednet.reports import write_evaluation


@pytest.fixture
def result():
    confusion = torch.tensor([[2, 1], [0, 1]])
    return Evaluation(0.25, 75.0, None, 4, confusion, torch.tensor([3, 1]), [("a.png", "broken")])


def test_files_and_summary(result, tmp_path):
    lines = write_evaluation(result, ["cat, big", 'a "dog"'], tmp_path, "rednet26", {"seed": 3})
    assert lines == [
        "rednet26  top-1 75.00 %, loss 0.2500  (4 images)",
        "1 image could not be read; listed in evaluation.json",
        f"per-class table and confusions are in {tmp_path}",
    ]
    assert json.loads((tmp_path / "evaluation.json").read_text()) == {
        "model": "rednet26",
        "samples": 4,
        "top1": 75.0,
        "top5": None,
        "loss": 0.25,
        "nonfinite": 0,
        "unreadable": [["a.png", "broken"]],
        "seed": 3,
    }
    with (tmp_path / "per_class.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == ["cat, big", 'a "dog"']
    assert list(rows[0]) == [
        *("class", "samples", "top1", "precision", "recall", "f1", "most_mistaken_for")
    ]
    assert [float(row["top1"]) for row in rows] == pytest.approx([200 / 3, 100])
    assert [float(row["precision"]) for row in rows] == pytest.approx([100, 50])
    assert [row["most_mistaken_for"] for row in rows] == ['a "dog"', ""]
    assert (tmp_path / "confusions.csv").read_bytes().decode() == (
        'true,predicted,count,share\r\n"cat, big","a ""dog""",1,33.333333333333336\r\n'
    )
    assert (tmp_path / "confusion.png").is_file()


def test_no_confusion(tmp_path):
    perfect = Evaluation(0.0, 100.0, 100.0, 2, torch.eye(2).long(), torch.ones(2))
    write_evaluation(perfect, ["cat", "dog"], tmp_path, "rednet26", {})
    assert (tmp_path / "confusions.csv").read_text() == "true,predicted,count,share\n"
    assert (tmp_path / "confusion.png").is_file()


@pytest.mark.parametrize(("classes", "is_matrix"), [(60, True), (61, False), (1000, False)])
def test_many_classes_are_listed(classes, is_matrix, tmp_path):
    confusion = torch.eye(classes).long()
    confusion[3, 5] = 2
    result = Evaluation(0.0, 0.0, 0.0, classes + 2, confusion, torch.ones(classes))
    names = [f"n{index:08d}" for index in range(classes)]
    write_evaluation(result, names, tmp_path, "rednet26", {})
    with Image.open(tmp_path / "confusion.png") as image:
        assert (image.height > 800) == is_matrix  # one line of text and a bar, or a square
    with (tmp_path / "confusions.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["true"], row["predicted"], row["count"]) == ("n00000003", "n00000005", "2")
    assert float(row["share"]) == pytest.approx(200 / 3)


def test_synsets_have_their_english_names(result, tmp_path):
    write_evaluation(result, ["n01440764", "n02123045"], tmp_path, "rednet26", {})
    with (tmp_path / "per_class.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:3] == ["class", "name", "samples"]
    assert [row["name"] for row in rows] == ["tench", "tabby cat"]
