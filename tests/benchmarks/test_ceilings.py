"""The ceilings of the machine."""

import torch
from benchmark_results import read_results, run_benchmark

from benchmarks import ceilings

CPU = torch.device("cpu")


def test_ceilings(tmp_path):
    run_benchmark("ceilings", "--turns", "2", folder=tmp_path)
    content, records = read_results(tmp_path, "ceilings")
    assert len(records) == len(content["rows"]) == 2 + len(ceilings.SIZES_MIB)
    for row in content["rows"]:
        assert 0 < row["lower"] <= row["median"] <= row["upper"] <= row["best"] * 1.001
    assert {row["unit"] for row in content["rows"]} == {"GFLOP/s", "GB/s"}


def test_the_matrix_product_stands_in_for_a_compiler(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    multiplier = ceilings.make_multiplier(CPU, torch.bfloat16)
    assert (multiplier.method, multiplier.operations) == ("product of matrices", 2.0 * 1024**3)
    assert multiplier.run().dtype == torch.float32
