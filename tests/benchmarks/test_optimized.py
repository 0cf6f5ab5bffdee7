"""The benchmark of optimized networks."""

import pytest
from benchmark_results import read_results, run_benchmark

from benchmarks import optimized


@pytest.mark.nightly
@pytest.mark.parametrize("runtimes", [True, False])
def test_a_row_for_each_form(runtimes, tmp_path, monkeypatch):
    if not runtimes:
        monkeypatch.setattr(optimized, "unavailable_reason", lambda runtime: "missing")
    sizes = ["--depth", "26", "--image-size", "64", "--batch", "2", "--turns", "2"]
    run_benchmark("optimized", *sizes, folder=tmp_path)
    content, records = read_results(tmp_path, "optimized")
    forms = {row["form"] for row in content["rows"] if row["precision"] == "bf16"}
    networks = {
        f"{name} {form}" for name in ("resnet", "rednet") for form in ("eager", "optimized")
    }
    assert forms >= networks
    assert ("resnet openvino" in forms) == runtimes
    for row in content["rows"]:
        assert row["best_resnet"].startswith("resnet ")
        if row["form"] == row["best_resnet"]:
            assert row["over_best_resnet"]["median"] == 1
    assert len(records) == len(content["rows"])
