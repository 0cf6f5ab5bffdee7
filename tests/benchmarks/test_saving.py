"""The benchmark of saving: a row for the copy and one for the write."""

import pytest
from benchmark_results import read_results, run_benchmark


def test_saving(tmp_path):
    run_benchmark("saving", "--turns", "2", "--depth", "26", folder=tmp_path)
    content, records = read_results(tmp_path, "saving")
    assert [row["what"] for row in content["rows"]] == ["copy", "write"]
    for row in content["rows"]:
        assert row["megabytes"] == pytest.approx(3 * 9.2 * 4, rel=0.05)  # three copies of 9.2 M
        assert 0 < row["lower"] <= row["median"] <= row["upper"]
    assert len(records) == 2
    assert not any(path.is_dir() for path in tmp_path.iterdir())
