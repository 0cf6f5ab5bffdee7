"""The table of the operators that run fused is what the model says."""

import sys

import pytest

from benchmarks.kernels import (
    span_choice,
    span_gradients_report,
    span_prediction,
    span_report,
)
from benchmarks.kernels.span_choice import RESULTS, TABLE, Times, read_times, render


def test_the_table_is_that_of_the_committed_times():
    command = "python -m benchmarks.kernels.span_choice"
    assert render(read_times()) == TABLE.read_text(encoding="utf-8"), f"run {command}"


def test_fused_is_what_is_not_slower():
    rows = [
        Times("span_involution2d", 16, 80, "stem", 1.0, 1.0),
        Times("span_involution2d", 16, 80, "stage1", 1.1, 1.0),
        Times("span_gradients", 16, 80, "stage1", 0.9, 1.0),
    ]
    table = {}
    exec(render(rows), table)
    assert table["ARCHITECTURES"] == (80,)
    assert table["LAYERS"] == {"stem": (32, 2, 8, 3, 1), "stage1": (64, 4, 16, 7, 1)}
    chosen = {key: names for key, names in table["FUSED"].items() if names}
    assert chosen == {
        ("span_involution2d", 16, 80): ("stem",),
        ("span_gradients", 16, 80): ("stage1",),
    }


def test_check_says_whether_the_table_would_change(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sys, "argv", ["span_choice", "--check"])
    assert span_choice.main() == 0
    monkeypatch.setattr(span_choice, "TABLE", tmp_path / "span_table.py")
    assert span_choice.main() == 1
    assert "span_table.py is not what the model says" in capsys.readouterr().out
    assert not span_choice.TABLE.exists()
    monkeypatch.setattr(sys, "argv", ["span_choice", "--results", str(RESULTS)])
    assert span_choice.main() == 0
    assert span_choice.TABLE.read_text(encoding="utf-8") == TABLE.read_text(encoding="utf-8")


def test_the_prediction_chooses_the_faster_way(capsys):
    assert span_prediction.main() == 0
    lines = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines()[2:]]
    assert [(line[0].split()[0], line[1].strip()) for line in lines] == [
        (gpu, way) for gpu in ("A100", "H100") for way in ("fused", "stored", "chosen")
    ]
    numbers = [[float(cell) for cell in line[2:]] for line in lines]
    for fused, stored, chosen in (numbers[:3], numbers[3:]):
        limits = zip(chosen[:4], fused[:4], stored[:4], strict=True)
        assert all(mine <= min(one, other) for mine, one, other in limits)
        assert fused[4] > stored[4]
        assert chosen[4] >= fused[4]


def test_a_report_of_one_dtype_keeps_the_rows_of_the_other(monkeypatch, tmp_path):
    path = tmp_path / "span.csv"
    path.write_text((RESULTS / "span.csv").read_text(encoding="utf-8"), encoding="utf-8")
    before = path.read_text(encoding="utf-8").splitlines()

    def record(case, gpu):
        names = case.layer, case.operator, case.dtype, gpu.name
        return {
            **dict.fromkeys(before[0].split(","), 1.5),
            **dict(zip(span_report.KEY, names, strict=True)),
        }

    monkeypatch.setattr(span_report, "record", record)
    options = ["--dtype", "float32", "--gpu", "H100 SXM", "--output", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["report", *options])
    assert span_report.main() == 0
    after = path.read_text(encoding="utf-8").splitlines()
    is_new = [",float32,H100 SXM," in line for line in after]
    assert [line for line, new in zip(after, is_new, strict=True) if not new] == [
        line for line in before if ",float32,H100 SXM," not in line
    ]
    assert sum(is_new) == 16 and all(
        line.endswith(",1.5") for line, new in zip(after, is_new, strict=True) if new
    )


@pytest.mark.nightly
@pytest.mark.usefixtures("compiler")
def test_the_table_is_that_of_kernels_compiled_now(monkeypatch, tmp_path):
    folder = ["--output", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["report", *folder, "--dtype", "float32", "bfloat16"])
    assert span_report.main() == 0
    monkeypatch.setattr(sys, "argv", ["report", *folder])
    assert span_gradients_report.main() == 0
    assert render(read_times(tmp_path)) == TABLE.read_text(encoding="utf-8")
