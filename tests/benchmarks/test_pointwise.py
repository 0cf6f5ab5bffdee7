"""The benchmark of 1x1 convolutions: both forms of each shape, in each direction."""

from benchmark_results import read_results, run_benchmark

from benchmarks.pointwise import Shape, find_shapes


def test_shapes_of_rednet50():
    shapes = find_shapes(50, 224)
    # Two in each of 16 blocks, and one in each of the 17 kernel generators.
    assert shapes.total() == 16 * 2 + 17
    assert shapes[Shape(256, 1024, 14)] == 6


def test_pointwise(tmp_path, monkeypatch):
    shapes = {Shape(6, 4, 5): 2, Shape(4, 6, 5): 1}
    monkeypatch.setattr("benchmarks.parts.find_shapes", lambda *_: shapes)
    run_benchmark("pointwise", "--turns", "2", "--batch", "1", folder=tmp_path)
    content, records = read_results(tmp_path, "pointwise")
    assert [row["direction"] for row in content["rows"][:3]] == [
        "forward",
        "input_gradient",
        "weight_gradient",
    ]
    assert len(records) == 6 and records[0]["shape"] == "6 to 4, 5x5"
    assert all(row["product_ms"] > 0 < row["convolution_ms"] for row in content["rows"])
