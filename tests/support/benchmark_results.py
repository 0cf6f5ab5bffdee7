"""Run a small benchmark and read the files that it wrote."""

import csv
import json
from statistics import median

import pytest

from benchmarks import cli

TINY = ["--image-size", "64", "--batch", "2", "--turns", "2"]


def run_benchmark(*arguments, folder):
    assert cli.main([*arguments, "--device", "cpu", "--output", str(folder)]) == 0


def read_results(folder, part):
    """Return the JSON file and the records of the CSV file, after checks for all parts."""
    content = json.loads((folder / f"{part}.json").read_text())
    records = list(csv.DictReader((folder / f"{part}.csv").read_text().splitlines()))
    assert (folder / f"{part}.png").read_bytes().startswith(b"\x89PNG")
    assert content["part"] == part
    assert {"date", "command", "turns", "machine", "rows"} < content.keys()
    assert {"cpu", "cores", "threads", "torch", "timm", "compiler", "device"} < set(
        content["machine"]
    )
    assert str(folder) not in json.dumps(content)
    return content, records


def assert_fits(ratio, slower, faster):
    """The ratio of medians is that of the times, and the spread surrounds a turn's ratio."""
    assert ratio["of_medians"] == pytest.approx(median(slower) / median(faster), rel=1e-2)
    by_turn = [one / other for one, other in zip(slower, faster, strict=True)]
    assert ratio["median"] == pytest.approx(median(by_turn), rel=1e-2)
    assert ratio["lower"] <= ratio["median"] <= ratio["upper"]
