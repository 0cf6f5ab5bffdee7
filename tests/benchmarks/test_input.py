"""The benchmark of input: a row for each contender of each stage of each source."""

import pytest
from benchmark_results import read_results, run_benchmark
from PIL import Image

from benchmarks import cli, parts


@pytest.mark.nightly
def test_input(tmp_path):
    for name in ("a.jpg", "folder/b.JPEG", "c.jpg"):
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((300, 280), 50).convert("RGB").save(tmp_path / "images" / name)
    argv = ["--images", str(tmp_path / "images"), "--number", "2", "--image-size", "64"]
    run_benchmark("input", "--turns", "1", "--workers", "1", *argv, folder=tmp_path / "results")
    content, records = read_results(tmp_path / "results", "input")
    stages = {}
    for row in content["rows"]:
        stages.setdefault((row["source"], row["stage"]), []).append(row["contender"])
        assert row["images_per_second"]["median"] > 0
        assert (row["over_baseline"]["median"] == 1) == (row["contender"] == row["baseline"])
    assert len(records) == len(content["rows"])
    assert len(stages) == 5 * len(parts.SHORT_SIDES) + 1
    for source in parts.SHORT_SIDES:
        assert stages[source, "sample"][:2] == ["timm from files", "timm"]
        assert stages[source, "sample"][-1] == "rednet"
    assert stages["files", "loader, 1 workers"] == [
        *("timm", "rednet", "rednet, left as pixels", "samples only")
    ]


def test_a_folder_without_jpeg_files(tmp_path, capsys):
    (tmp_path / "a.png").touch()
    argv = ["input", "--images", str(tmp_path), "--output", str(tmp_path / "results")]
    assert cli.main(argv) == 2
    assert capsys.readouterr().err == f"error: --images {tmp_path}: there are no JPEG files\n"
