"""The operator's benchmark: rows, ratios, shares of the ceilings."""

import pytest
from benchmark_results import TINY, assert_fits, read_results, run_benchmark


def test_operator(tmp_path, capsys):
    options = ["--layer", "stage3-first", "--precision", "fp32", "--backend", "reference"]
    run_benchmark("operator", *options, *TINY, folder=tmp_path)
    content, records = read_results(tmp_path, "operator")
    forward, both = content["rows"]
    assert (forward["pass"], both["pass"]) == ("forward", "forward+backward")
    assert both["operations"] == 3 * forward["operations"]
    assert [record["contender"] for record in records] == ["unfold", "reference"] * 2
    for row in content["rows"]:
        unfold, reference = (row["contenders"][name] for name in ("unfold", "reference"))
        assert_fits(reference["speedup"], unfold["turns_ms"], reference["turns_ms"])
        assert unfold["speedup"]["of_medians"] == 1
        seconds = reference["ms"]["median"] / 1000
        assert reference["gflops"] == pytest.approx(row["operations"] / seconds / 1e9, rel=1e-3)
        assert reference["gbs"] == pytest.approx(row["bytes"] / seconds / 1e9, rel=1e-3)
        found = row["ceilings"]
        shares = {
            "fma": reference["gflops"] / found["fma_gflops"],
            "copy": reference["gbs"] / found["copy_gbs"],
        }
        assert max(shares, key=shares.get) == found["binds"]
        assert reference["share"]["of_medians"] == pytest.approx(shares[found["binds"]], rel=1e-2)
    assert both["contenders"]["unfold"]["peak_mib"] > both["contenders"]["reference"]["peak_mib"]
    assert "reference" in capsys.readouterr().out
