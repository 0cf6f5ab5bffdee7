"""The command line: its defaults and what it answers to mistakes."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import cli, parts
from benchmarks.layers import layers_of

ROOT = Path(__file__).parents[2]


def test_the_script_answers_a_mistake_in_one_line(tmp_path):
    command = [sys.executable, str(ROOT / "scripts" / "benchmark.py"), "network", "--depth", "51"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: argument --depth: invalid choice: 51")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["operators"], "operators"),
        (["--turns", "0"], "must be at least 1, got 0"),
        (["operator", "--depth", "50"], "--depth"),
        (["operator", "--layer", "stage5"], "stage5"),
        (["operator", "--backend", "naive"], "--backend naive: there is no such backend: "),
        (["network", "--backend", "naive"], "unknown backend 'naive'"),
        (["network", "--precision", "fp64"], "fp64"),
        (["network", "--image-size", "32"], "must be at least 64, got 32"),
        (["ceilings", "--batch", "16"], "--batch"),
    ],
)
def test_mistakes(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.startswith("error: ") and told.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_no_folder_for_results(tmp_path, capsys):
    path = tmp_path / "file"
    path.write_text("")
    assert cli.main(["ceilings", "--device", "cpu", "--output", str(path)]) == 2
    assert capsys.readouterr().err.startswith(f"error: --output {path}: ")


def test_without_arguments_all_parts_run_at_their_defaults():
    options = cli.parse([])
    assert (options.part, options.turns, options.batch) == ("all", 9, [16])
    assert (options.depth, options.precision) == ([50], ["fp32", "bf16"])
    assert (options.layer, options.image_size) == (list(layers_of(224)), 224)
    assert set(cli.PARTS) == {"all", *parts.PARTS}


def test_the_folder_is_not_part_of_the_command():
    assert cli.parse(["--output=~/here"]).output == Path.home() / "here"
    for form in (["--output", "here"], ["--output=here"]):
        assert cli.parse(["operator", *form, "--turns", "3"]).command == (
            "python scripts/benchmark.py operator --turns 3"
        )
