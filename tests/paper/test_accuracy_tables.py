"""Tables of accuracies: which network each belongs to, and which are comparable."""

import csv
import json

import pytest

from rednet.data import Preprocessing
from rednet.paper.accuracy import Accuracy
from rednet.paper.accuracy_tables import accuracy_tables, has_row
from rednet.paper.document import write_tables
from rednet.paper.networks import Network, resnet
from rednet.paper.summary import summary_tables
from rednet.weights import imagenet_preprocessing


def column(table, heading):
    index = list(table.columns).index(heading)
    return [line[index] for line in table.rows]


def accuracy(preprocessing_changes=(), **changes):
    """Return the accuracy of a complete evaluation as published, with changes."""
    defaults = {"top1": 78.3512, "top5": 94.0, "images": 50_000, "precision": "fp32"}
    preprocessing = Preprocessing(**{**imagenet_preprocessing(), **dict(preprocessing_changes)})
    defaults |= {"checkpoint": "a.pth", "preprocessing": preprocessing}
    return Accuracy(**{**defaults, **changes})


def rows_of(table, label):
    return [dict(zip(table.columns, line, strict=True)) for line in table.rows if line[0] == label]


def test_without_checkpoints_only_published_accuracies_are_shown():
    for table in accuracy_tables({}):
        assert set(column(table, "here")) == {"-"}
        assert table.section == "files"
        assert {item.verdict for item in table.comparisons} <= {"not measured", "not published"}


def test_an_accuracy_appears_only_in_the_row_of_its_network():
    rednets, resnets, ablations = accuracy_tables({Network(50): [accuracy()]})
    (row,) = rows_of(rednets, "RedNet-50, 3x3 stem")
    conditions = [row[name] for name in ("images", "interpolation", "precision", "checkpoint")]
    assert conditions == ["50000", "bilinear", "fp32", "a.pth"]
    assert column(rednets, "here").count("78.35") == 1
    assert {*column(resnets, "here"), *column(ablations, "here")} == {"-"}
    assert [table.section for table in (rednets, resnets, ablations)] == [
        "accuracy",
        "files",
        "files",
    ]
    verdicts = {
        (item.quantity, item.source): item.verdict
        for item in rednets.comparisons
        if item.row == "RedNet-50, 3x3 stem"
    }
    assert verdicts == {
        ("top-1", "paper"): "reproduced",
        ("top-1", "model zoo"): "reproduced",
        ("top-5", "model zoo"): "differs by -0.1300",
    }


def test_an_accuracy_appears_in_every_row_of_its_network():
    _, _, ablations = accuracy_tables({Network(50, "conv7"): [accuracy(top1=77.7)]})
    assert column(ablations, "here").count("77.70") == 3


def test_each_checkpoint_of_a_network_has_a_row():
    partial = accuracy({"image_size": 64}, checkpoint="b.pth", images=6)
    _, table, _ = accuracy_tables({resnet(50): [accuracy(), partial]})
    assert [row["checkpoint"] for row in rows_of(table, "ResNet-50")] == ["a.pth", "b.pth"]
    deviations = "Not evaluated as published: images 6, not 50000; image_size 64, not 224."
    assert deviations in table.notes[-1]


@pytest.mark.parametrize(
    ("evaluated", "differences"),
    [
        (accuracy(), ""),
        (accuracy({"interpolation": "opencv"}, precision="tf32"), ""),
        (accuracy(images=49_999), "images 49999, not 50000"),
        (accuracy({"crop_pct": 0.95}), "crop_pct 0.95, not 0.875"),
        (
            accuracy({"interpolation": "bicubic"}),
            "interpolation bicubic, not bilinear or opencv",
        ),
        (
            accuracy({"std": (0.5, 0.5, 0.5)}),
            "std (0.5, 0.5, 0.5), not (0.229, 0.224, 0.225)",
        ),
        (accuracy(precision="bf16"), "precision bf16, not fp32 or tf32"),
    ],
)
def test_deviations_from_the_published_conditions_are_listed(evaluated, differences):
    deviations = f"Not evaluated as published: {differences}."
    assert evaluated.deviations == (deviations if differences else "")


def test_a_partial_evaluation_is_not_comparable_even_if_it_equals_the_published_accuracy():
    partial = accuracy(top1=78.35, top5=94.13, images=100)
    table, _, _ = accuracy_tables({Network(50): [partial]})
    verdicts = {item.verdict for item in table.comparisons if item.ours is not None}
    assert verdicts == {"not comparable"}
    (row,) = rows_of(table, "RedNet-50, 3x3 stem")
    assert set(column(table, "reproduced")) == {"-", "not comparable [1]"}
    assert row["difference"] == "+0.00"
    assert not any("Reproduced to the last" in note for note in table.notes)


def test_a_published_accuracy_counts_once_and_any_complete_evaluation_reproduces_it():
    files = [accuracy(top1=70, checkpoint=name) for name in ("b.pth", "c.pth")]
    found = {Network(50): [*files, accuracy()], Network(50, "conv7"): [accuracy(top1=77.7)]}
    rednets, _, ablations = accuracy_tables(found)
    assert (
        rednets.notes[0] == "Reproduced to the last printed digit: paper 1 of 1, model zoo 1 of 2."
    )
    assert ablations.notes[0] == "Reproduced to the last printed digit: paper 1 of 1."


def test_the_first_screen_has_reproduced_accuracies_in_bold():
    shown = {
        ("**78.4**", "**78.35**"): [accuracy()],
        ("**78.4**", "78.35"): [accuracy(top1=70), accuracy(top1=78.4)],
        ("78.4", "78.35"): [accuracy(top1=77), accuracy(images=100)],
    }
    for expected, evaluated in shown.items():
        rednets, ablations = summary_tables(list(accuracy_tables({Network(50): evaluated})))
        cells = {row[0]: tuple(row[-2:]) for row in rednets.rows}
        assert cells.pop("RedNet-50") == expected
        assert "*" not in str([*cells.values(), *column(ablations, "Top-1: paper")])
        assert not any("No checkpoint was evaluated" in note for note in rednets.notes)


def test_only_tables_with_an_accuracy_are_shown(tmp_path):
    tables = list(accuracy_tables({resnet(50): [accuracy(top1=76.8)]}))
    shown = write_tables(tables, tmp_path)
    assert "accuracy of ResNet" in shown and '"not comparable"' in shown
    assert "accuracy of RedNet" not in shown and "Ablations, accuracy" not in shown


def test_the_7x7_stem_has_no_published_accuracy():
    network = Network(38, "involution7")
    bare, _, _ = accuracy_tables({})
    assert not any("7x7" in line[0] for line in bare.rows)
    table, _, _ = accuracy_tables({network: [accuracy(top1=77.48)]})
    (row,) = [line for line in table.rows if "7x7" in line[0]]
    assert row[:6] == ["RedNet-38, 7x7 stem", "-", "-", "77.48", "-", "-"]
    assert not any("Reproduced" in note for note in table.notes)


def test_a_network_inferred_from_the_files_name_has_a_footnote():
    _, table, _ = accuracy_tables({resnet(50): [accuracy(top1=76.8, is_named_by_file=True)]})
    (row,) = rows_of(table, "ResNet-50")
    assert row["checkpoint"] == "a.pth"
    assert column(table, "reproduced").count("yes [1]") == 1
    assert table.notes[-1].startswith("[1] The network is inferred from the file's name")


def test_records_name_the_checkpoint_and_the_conditions(tmp_path):
    files = [accuracy(), accuracy({"interpolation": "opencv"}, checkpoint="b.pth")]
    tables = list(accuracy_tables({Network(50): files}))
    write_tables(tables, tmp_path)
    with (tmp_path / "tables.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["row"] == "RedNet-50, 3x3 stem"]
    names = ("checkpoint", "images", "image_size", "crop_pct", "interpolation", "precision")
    settings = {tuple(row[name] for name in names) for row in rows}
    assert settings == {
        ("a.pth", "50000", "224", "0.875", "bilinear", "fp32"),
        ("b.pth", "50000", "224", "0.875", "opencv", "fp32"),
    }
    figures = json.loads((tmp_path / "tables.json").read_text())["figures"]
    assert {figure["checkpoint"] for figure in figures} == {"a.pth", "b.pth", None}
    assert {figure["images"] for figure in figures} == {50_000, None}


def test_has_row():
    assert has_row(Network(152, "involution7"))
    assert has_row(Network(50, "conv7", kernel_size=9))
    assert not has_row(Network(26, "conv7", kernel_size=9))
    assert not has_row(Network(50, involution_stages=(1,)))
