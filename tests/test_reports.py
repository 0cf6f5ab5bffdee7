"""The files and the summary of an evaluation."""

import csv
import json

import pytest
import torch

from rednet.evaluation import Evaluation
from rednet.reports import write_evaluation


@pytest.fixture
def result():
    confusion = torch.tensor([[2, 1], [0, 1]])
    return Evaluation(0.25, 75.0, 100.0, 4, confusion, torch.tensor([3, 1]), [("a.png", "broken")])


def test_files_and_summary(result, tmp_path):
    lines = write_evaluation(result, ["cat, big", 'a "dog"'], tmp_path, "rednet26")
    assert lines == [
        "rednet26  top-1 75.00 %, top-5 100.00 %, loss 0.2500  (4 images)",
        "1 image could not be read; listed in evaluation.json",
        f"per-class table and confusion matrix are in {tmp_path}",
    ]
    assert json.loads((tmp_path / "evaluation.json").read_text()) == {
        "model": "rednet26",
        "samples": 4,
        "top1": 75.0,
        "top5": 100.0,
        "loss": 0.25,
        "unreadable": [["a.png", "broken"]],
    }
    with (tmp_path / "per_class.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == ["cat, big", 'a "dog"']
    assert [float(row["top1"]) for row in rows] == pytest.approx([200 / 3, 100])
    assert [row["most_mistaken_for"] for row in rows] == ['a "dog"', ""]
    assert (tmp_path / "confusion.png").is_file()
