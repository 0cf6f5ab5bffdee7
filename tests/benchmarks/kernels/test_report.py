"""The report as a user gets it, and what it answers where it cannot be made."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.kernels import cli, report, toolchain
from benchmarks.kernels.cases import all_cases
from benchmarks.kernels.toolchain import ARCHITECTURES

ROOT = Path(__file__).parents[3]


def read(path):
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.mark.usefixtures("compiler")
def test_the_report(tmp_path, capsys, monkeypatch):
    cases = [case for case in all_cases() if case.layer in ("stage2", "stage3")]
    monkeypatch.setattr(report, "all_cases", lambda: cases)
    arguments = ["--arch", "80", "--dtype", "float32", "--output", str(tmp_path)]
    assert cli.main(arguments) == 0
    told = capsys.readouterr().out
    assert "stage2 stage3" in told and "instr/mac" in told and str(tmp_path) in told
    kernels, rooflines = read(tmp_path / "kernels.csv"), read(tmp_path / "roofline.csv")
    assert (tmp_path / "kernels.png").read_bytes().startswith(b"\x89PNG")
    assert {row["arch"] for row in kernels} == {"80"}
    assert {row["nvrtc"] for row in kernels} == {toolchain.compiler_version()}
    assert len({(row["layers"], row["operator"], row["layout"]) for row in kernels}) == len(kernels)
    ours = [row for row in kernels if row["layers"] == "stage2 stage3"]
    assert {row["basis"] for row in ours} <= {"straight", "walked"}
    known = [row for row in rooflines if row["gpu"].startswith("A100")]
    assert all(float(row["issue_estimate_us"]) > 0 for row in known)
    assert not any(row["issue_estimate_us"] for row in rooflines if row["gpu"] == "H100 SXM")
    assert {row["layer"] for row in rooflines} == {"stage2", "stage3"}


def test_by_default_everything_is_compiled():
    options = cli.parse([])
    assert tuple(options.arch) == ARCHITECTURES
    assert len(options.dtype) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--arch", "70"], "invalid choice: 70"),
        (["--dtype", "fp32"], "invalid choice: 'fp32'"),
        (["--processes", "0"], "invalid choice: 0"),
        (["kernels"], "unrecognized arguments: kernels"),
    ],
)
def test_mistakes(arguments, message, capsys):
    assert cli.main(arguments) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.startswith("error: ") and told.count("\n") == 1


@pytest.mark.usefixtures("compiler")
def test_a_file_is_no_folder_for_results(tmp_path, capsys):
    path = tmp_path / "file"
    path.write_text("")
    assert cli.main(["--output", str(path)]) == 2
    assert capsys.readouterr().err.startswith(f"error: --output {path}: ")


def test_without_cupy_the_extra_is_named(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "cupy.cuda", None)
    assert cli.main(["--output", str(tmp_path / "new")]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "CuPy" in told and "rednet[cuda13]" in told
    assert list(tmp_path.iterdir()) == []


def test_without_a_disassembler_it_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(toolchain.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    toolchain.find_tool.cache_clear()
    try:
        with pytest.raises(toolchain.InputError, match="nvdisasm is neither in triton's wheel"):
            toolchain.find_tool("nvdisasm")
    finally:
        toolchain.find_tool.cache_clear()


def test_the_script_answers_a_mistake_in_one_line(tmp_path):
    command = [sys.executable, str(ROOT / "scripts" / "kernel_report.py"), "--arch", "1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: argument --arch: invalid choice: 1")
    assert done.stderr.count("\n") == 1
