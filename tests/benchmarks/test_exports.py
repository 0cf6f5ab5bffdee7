"""The benchmarks of exported networks and of the forms of the operator in ONNX."""

import pytest
from benchmark_results import read_results, run_benchmark

from benchmarks import exports, parts, runtimes
from benchmarks.exports import EAGER, Form, list_forms
from benchmarks.onnx_forms import FORMS, NATIVE
from rednet.export.checking import TOLERANCE

EAGER_ONLY = [Form("rednet", EAGER)]
WITH_A_FILE = [*EAGER_ONLY, Form("rednet", "torch_export")]


@pytest.mark.parametrize(
    "forms", [EAGER_ONLY, pytest.param(WITH_A_FILE, marks=pytest.mark.nightly)], ids=len
)
def test_a_row_for_each_batch_and_form(forms, tmp_path, monkeypatch):
    monkeypatch.setattr(exports, "list_forms", lambda: forms)
    sizes = ["--depth", "26", "--image-size", "64", "--batch", "1", "2", "--turns", "2"]
    run_benchmark("export", *sizes, folder=tmp_path)
    content, records = read_results(tmp_path, "export")
    assert [(row["batch"], row["form"]) for row in content["rows"]] == [
        (batch, form.name) for batch in (1, 2) for form in forms
    ]
    for row in content["rows"]:
        if row["format"] == EAGER:
            assert (row["over_eager"]["median"], row["megabytes"]) == (1, None)
        else:
            assert row["megabytes"] == pytest.approx(9.2 * 4, rel=0.1)
            assert row["relative_error"] < TOLERANCE
            assert row["operator"] == "native" and row["export_seconds"] > 0
    assert len(records) == 2 * len(forms)


def test_a_missing_runtime_is_left_out(monkeypatch):
    monkeypatch.setattr(runtimes, "find_spec", lambda name: None if name == "openvino" else name)
    assert runtimes.left_out() == ["left out: openvino: pip install openvino"]
    assert {form.runtime for form in list_forms()} == {"torch", "onnxruntime"}


@pytest.mark.nightly
def test_every_form_of_the_operator(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime", reason="needs pip install onnxruntime")
    monkeypatch.setattr(parts, "FORMS_IMAGE_SIZE", 64)
    run_benchmark("onnx-forms", "--turns", "2", "--batch", "2", folder=tmp_path)
    content, _ = read_results(tmp_path, "onnx-forms")
    assert [NATIVE, *FORMS] == list(dict.fromkeys(row["form"] for row in content["rows"]))
    assert all(row["relative_error"] < TOLERANCE for row in content["rows"])
