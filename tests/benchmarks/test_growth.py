"""The benchmark of how an involution's cost grows: a line for each quantity and pass."""

import pytest
import torch
from benchmark_results import read_results, run_benchmark

from benchmarks import growth
from benchmarks.growth import Point, _exponent, points
from benchmarks.layers import Layer


def test_each_point_changes_one_quantity():
    base = Point("batch", growth.BASE_BATCH).case("fp32", torch.device("cpu"))
    for point in points(cores=1):
        case = point.case("fp32", torch.device("cpu"))
        found = {**vars(case), **vars(case.layer)}
        changed = [key for key in vars(base) | vars(base.layer) if key != "layer"]
        others = {key for key in changed if found[key] != {**vars(base), **vars(base.layer)}[key]}
        assert others <= {point.quantity} and found[point.quantity] == point.value
    assert [point.value for point in points(3) if point.quantity == "threads"] == [1, 2]


def test_the_exponent_of_a_power_law():
    assert _exponent([1, 2, 8], [3.0, 6.0, 24.0]) == pytest.approx(1)
    assert _exponent([1, 4], [5.0, 10.0]) == pytest.approx(0.5)
    assert _exponent([1], [5.0]) is None


@pytest.mark.nightly
def test_growth(tmp_path, monkeypatch):
    monkeypatch.setattr(growth, "BASE", Layer("tiny", 16, 6, kernel_size=3))
    monkeypatch.setattr(growth, "VALUES", {"batch": (1, 2), "kernel_size": (3, 5), "threads": (1,)})
    run_benchmark("growth", "--turns", "2", "--backend", "reference", folder=tmp_path)
    content, records = read_results(tmp_path, "growth")
    assert len(content["rows"]) == len(records) == 2 * (2 + 2 + 1)
    assert {row["quantity"] for row in content["rows"]} == {"batch", "kernel_size", "threads"}
    assert all(row["ms"]["lower"] <= row["ms"]["upper"] for row in content["rows"])
